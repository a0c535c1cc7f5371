"""Capital that proves something: rarely where there is nothing, surely where there is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.active.evidence import Evidence, interval

ALPHA = 0.1
RUNS = 300


def ever_proven(rewards, population=None):
    """Whether the first expert was ever proven better, looking after every five queries."""
    evidence = Evidence(2, population)
    for start in range(0, len(rewards), 5):
        evidence.add(rewards[start : start + 5])
        if evidence.log_beats[0, 1] >= np.log(1 / ALPHA):
            return True
    return False


def test_equal_experts_are_rarely_told_apart_however_often_one_looks():
    dice = np.random.default_rng(0)
    false = sum(ever_proven(dice.integers(0, 2, (150, 2)).astype(float)) for _ in range(RUNS))
    assert false / RUNS <= ALPHA


def test_experts_equal_on_a_finite_population_are_rarely_told_apart():
    dice = np.random.default_rng(1)
    wins = np.array([[1.0, 0.0], [0.0, 1.0]] * 60)
    false = sum(ever_proven(dice.permutation(wins), population=len(wins)) for _ in range(RUNS))
    assert false / RUNS <= ALPHA


def test_a_difference_is_found_sooner_where_hard_queries_are_hard_for_both():
    dice = np.random.default_rng(2)
    shared = dice.random((4_000, 1)) < [[0.55, 0.45]]
    alone = dice.random((4_000, 2)) < [[0.55, 0.45]]
    found = []
    for rewards in (shared.astype(float), alone.astype(float)):
        evidence = Evidence(2, None)
        evidence.add(rewards[:300])
        found.append(evidence.log_beats[0, 1])
    assert found[0] > found[1] + np.log(1 / ALPHA)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30), st.integers(1, 30))
def test_a_whole_population_leaves_no_doubt_but_ties(rows, batch):
    rewards = np.array(rows)
    evidence = Evidence(2, len(rewards))
    for start in range(0, len(rewards), batch):
        evidence.add(rewards[start : start + batch])
    lead = (rewards[:, 0] - rewards[:, 1]).sum()
    if abs(lead) > 1e-6:
        assert np.isinf(evidence.log_beats[0, 1]) == (lead > 0)
        assert np.isinf(evidence.log_beats[1, 0]) == (lead < 0)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=20), st.integers(1, 20))
def test_batches_of_any_size_say_the_same(rows, batch):
    rewards = np.array(rows).reshape(-1, 2)
    whole, parts = Evidence(2, 40), Evidence(2, 40)
    whole.add(rewards)
    for start in range(0, len(rewards), batch):
        parts.add(rewards[start : start + batch])
    assert parts.log_beats == pytest.approx(whole.log_beats)


def test_an_expert_that_was_not_asked_changes_nothing_about_the_others():
    rewards = np.array([[1.0, 0.0, np.nan], [1.0, np.nan, 1.0], [1.0, 0.0, np.nan]])
    three, two = Evidence(3, None), Evidence(2, None)
    three.add(rewards)
    two.add(rewards[[0, 2], :2])
    assert three.log_beats[:2, :2] == pytest.approx(two.log_beats)
    assert three.log_beats[1, 2] == 0.0


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_an_interval_holds_the_mean_of_what_was_seen(values):
    low, high = interval(np.array(values))
    assert 0.0 <= low <= np.mean(values) + 1e-4
    assert np.mean(values) - 1e-4 <= high <= 1.0


def test_an_interval_covers_the_true_mean_and_narrows():
    dice = np.random.default_rng(3)
    outside = 0
    for _ in range(150):
        low, high = interval((dice.random(150) < 0.7).astype(float), alpha=ALPHA)
        outside += not low <= 0.7 <= high
    assert outside / 150 <= ALPHA
    low, high = interval((dice.random(3_000) < 0.7).astype(float))
    assert high - low < 0.08


def test_nothing_is_known_without_rewards():
    assert interval(np.array([np.nan])) == (0.0, 1.0)
