"""The blind control: the same shares without the queries."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evals.metrics.controls import shuffled

NAN = float("nan")


def test_by_hand():
    """Three quarters go to the first expert, whose mean is 0.5, the rest to the second, whose mean is 0.25."""
    rewards = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.float32)
    assert shuffled(np.array([0, 0, 1, 0]), rewards) == pytest.approx(0.75 * 0.5 + 0.25 * 0.25)


@given(st.data(), st.integers(1, 5))
def test_it_is_the_mean_over_all_orders(data, n):
    rewards = data.draw(arrays(np.float64, (n, 3), elements=st.floats(0, 1)))
    choice = np.array(data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
    dealt = [rewards[np.arange(n), list(order)].mean() for order in permutations(choice)]
    assert shuffled(choice, rewards) == pytest.approx(np.mean(dealt), rel=1e-9, abs=1e-9)


def test_one_expert_earns_its_mean():
    rewards = np.random.default_rng(0).random((50, 3))
    assert shuffled(np.ones(50, np.intp), rewards) == pytest.approx(rewards[:, 1].mean())


def test_rewards_that_are_not_known_are_left_out():
    rewards = np.array([[1, NAN, 0], [NAN, NAN, 1]], np.float32)
    assert shuffled(np.array([0, 2]), rewards) == 0.75
    assert np.isnan(shuffled(np.array([0, 1]), rewards))
