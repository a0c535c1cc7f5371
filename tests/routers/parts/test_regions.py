"""Means of regions, drawn towards a prior."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from routers.base import Outcome
from routers.data.table import RewardTable
from routers.parts.regions import one_hot, shrunk_means


def table(*rows):
    """Rewards of `a` and `b`, None where not tried."""
    tried = [{name: reward for name, reward in zip("ab", row, strict=True) if reward is not None} for row in rows]
    return RewardTable.of([Outcome(f"query {i}", rewards) for i, rewards in enumerate(tried)], "ab")


def test_a_mean_by_hand():
    """Region 0 of `a`: (1 + 0 + 2 * 0.2) / 4. `b` was not tried there. Region 1: (0.5 + 2 * 0.2) / 3 and (1 + 2 * 0.8) / 3."""
    rows = table((1.0, None), (0.0, None), (0.5, 1.0))
    prior = np.array([0.2, 0.8], dtype=np.float32)
    means, errors = shrunk_means(rows, one_hot(np.array([0, 0, 1])), prior, 2.0)
    np.testing.assert_allclose(means, [[0.35, 0.8], [0.3, 2.6 / 3.0]], rtol=1e-5)
    assert (errors > 0.0).all()


def test_a_query_may_belong_to_two_regions_in_part():
    memberships = np.array([[0.75, 0.25], [0.25, 0.75]], dtype=np.float32)
    means, _ = shrunk_means(table((1.0, 1.0), (0.0, 1.0)), memberships, np.zeros(2, np.float32), 1e-6)
    np.testing.assert_allclose(means[:, 0], [0.75, 0.25], atol=1e-5)


def test_importance_weights_count():
    outcomes = [Outcome("rare", {"a": 1.0}, propensity={"a": 0.25}), Outcome("usual", {"a": 0.0})]
    means, _ = shrunk_means(RewardTable.of(outcomes), np.ones((2, 1), np.float32), np.zeros(1, np.float32), 1e-6)
    np.testing.assert_allclose(means, [[0.8]], atol=1e-5)


def test_each_region_may_have_a_prior_of_its_own():
    priors = np.array([[0.1, 0.2], [0.3, 0.4]], dtype=np.float32)
    means, _ = shrunk_means(table((None, 1.0)), np.zeros((1, 2), np.float32), priors, 5.0)
    np.testing.assert_allclose(means, priors, atol=1e-6)


@given(arrays(np.float64, (8, 2), elements=st.floats(0, 1)), st.floats(0.1, 50))
def test_means_lie_between_the_rewards_and_the_prior(rewards, pseudo_rows):
    prior = np.array([0.5, 0.5], dtype=np.float32)
    means, errors = shrunk_means(table(*rewards.tolist()), np.ones((8, 1), np.float32), prior, pseudo_rows)
    assert (means >= np.minimum(rewards.min(axis=0), 0.5) - 1e-5).all()
    assert (means <= np.maximum(rewards.max(axis=0), 0.5) + 1e-5).all()
    assert (errors <= 0.75).all()
