import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.gating import gate
from routers.gating import StreamLoad, balanced, prefer_small

SCORES = np.array([[0.7, 0.71], [0.5, 0.9]], dtype=np.float32)


def test_the_small_expert_is_preferred_where_it_does():
    preferred = prefer_small(SCORES, np.array([1.0, 70.0], dtype=np.float32), 0.05)
    assert preferred.argmax(axis=1).tolist() == [0, 1]


def test_the_largest_expert_gives_up_the_whole_strength():
    given_up = SCORES - prefer_small(SCORES, np.array([35.0, 70.0], dtype=np.float32), 0.1)
    np.testing.assert_allclose(given_up, [[0.05, 0.1]] * 2, atol=1e-6)


def test_experts_without_size_are_all_alike():
    np.testing.assert_array_equal(prefer_small(SCORES, np.zeros(2, dtype=np.float32), 0.1), SCORES)


@given(st.lists(st.integers(0, 2), max_size=30))
def test_shares_sum_to_one(choices):
    load = StreamLoad.start(3, window=10.0)
    for choice in choices:
        load = load.after(np.eye(3, dtype=np.float32)[[choice]])
    assert load.shares.sum() == pytest.approx(1.0, abs=1e-5)
    assert (load.shares > 0).all()


def test_one_batch_of_a_kind_hardly_counts_and_a_stream_of_it_does():
    """Balance within each batch would take specialists away from the queries that are theirs."""
    batch = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (10, 1))
    load = StreamLoad.start(2, window=1_000.0)
    assert balanced(SCORES, load.after(batch), 0.1) == pytest.approx(SCORES, abs=0.01)
    for _ in range(500):
        load = load.after(batch)
    assert load.shares[0] > 0.95
    assert balanced(SCORES, load, 0.3).argmax(axis=1).tolist() == [1, 1]


def test_an_even_load_changes_nothing():
    np.testing.assert_array_equal(balanced(SCORES, StreamLoad.start(2), 1.0), SCORES)


def test_a_stream_of_near_ties_is_shared_and_what_differs_is_not():
    """Two experts are nearly equal on most queries; one is far better on the rest."""
    dice = np.random.default_rng(0)
    load, used = StreamLoad.start(2, window=200.0), []
    for _ in range(400):
        scores = np.array([[0.8, 0.2]] if dice.random() < 0.2 else [[0.6, 0.59]], dtype=np.float32)
        weights = gate(balanced(scores, load, 0.1), 0.1, 1)
        load = load.after(weights)
        used.append((scores[0, 0] == np.float32(0.8), weights[0].argmax()))
    ties = [expert for special, expert in used if not special]
    assert all(expert == 0 for special, expert in used if special)
    assert 0.3 < np.mean(ties) < 0.9
