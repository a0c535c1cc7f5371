"""Clusters of queries, and who is good in each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routers.base import Outcome
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.families.cluster import ClusterRouter
from tests.support.outcomes import noise, specialists

EAST, WEST = (1.0, 0.0), (-1.0, 0.0)


def fitted(rewards, points, experts=("a", "b"), **parameters):
    """rewards: one row a query; None where an expert was not tried."""
    outcomes = [
        Outcome(f"query {i}", {name: reward for name, reward in zip(experts, row, strict=True) if reward is not None})
        for i, row in enumerate(rewards)
    ]
    table = RewardTable.of(outcomes, experts)
    return ClusterRouter(encoder=HashedEncoder(2), **parameters).fit_encoded(table, np.array(points, dtype=np.float32))


def test_a_hard_cluster_without_shrinkage_has_the_plain_means():
    """The recipe of Avengers."""
    rewards = [(1.0, 0.0), (0.5, 0.0)] * 5 + [(0.0, 1.0), (0.0, 0.5)] * 5
    router = fitted(rewards, [EAST] * 10 + [WEST] * 10, clusters=2, nearest=1, pseudo_rows=1e-6)
    np.testing.assert_allclose(
        router.predict_encoded(np.array([EAST, WEST], dtype=np.float32)), [[0.75, 0.0], [0.0, 0.75]], atol=1e-5
    )


def test_pseudo_rows_count_as_rows_with_the_overall_means():
    """Ten rows of 1 and ten of 0: the mean is 0.5, and ten more rows of it make 0.75 of the cluster's 1."""
    rewards = [(1.0, 0.0)] * 10 + [(0.0, 1.0)] * 10
    router = fitted(rewards, [EAST] * 10 + [WEST] * 10, clusters=2, nearest=1, pseudo_rows=10.0)
    np.testing.assert_allclose(router.predict_encoded(np.array([EAST], dtype=np.float32)), [[0.75, 0.25]], atol=1e-5)


def test_an_expert_nobody_tried_in_a_cluster_has_its_overall_mean_there():
    rewards = [(1.0, 0.8)] * 10 + [(0.0, None)] * 10
    router = fitted(rewards, [EAST] * 10 + [WEST] * 10, clusters=2, nearest=1)
    assert router.predict_encoded(np.array([WEST], dtype=np.float32))[0, 1] == pytest.approx(0.8)


def test_a_query_between_clusters_gets_both():
    rewards = [(1.0, 0.0)] * 10 + [(0.0, 1.0)] * 10
    router = fitted(rewards, [EAST] * 10 + [WEST] * 10, clusters=2, nearest=2)
    np.testing.assert_allclose(
        router.predict_encoded(np.array([(0.0, 1.0)], dtype=np.float32)), [[0.5, 0.5]], atol=1e-5
    )


def test_the_number_of_clusters_is_chosen_by_what_it_earns():
    several = ClusterRouter(encoder=HashedEncoder(256)).fit(specialists())
    assert len(several.centres_) > 1
    scores = several.predict(["What is 5 + 12?", "Tell me a song about snow"])
    assert scores.argmax(axis=1).tolist() == [several.experts_.index("calculator"), several.experts_.index("poet")]


def test_noise_is_left_in_one_piece():
    """`a` is better everywhere by 0.2."""
    scores = ClusterRouter(encoder=HashedEncoder(64)).fit(list(noise())).predict(["question 1 number 2", "anything"])
    assert (scores[:, 0] > scores[:, 1]).all()


def test_it_is_surer_of_a_larger_cluster():
    rewards = [(float(i % 2), 0.5) for i in range(120)]
    router = fitted(rewards, [EAST] * 100 + [WEST] * 20, clusters=2, nearest=1, pseudo_rows=1.0)
    east, west = router.predict_encoded(np.array([EAST, WEST], dtype=np.float32), return_std=True)[1][:, 0]
    assert east == pytest.approx(0.5 / 101**0.5, rel=0.05)
    assert west == pytest.approx(0.5 / 21**0.5, rel=0.05)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=12, max_size=30), st.integers(1, 4))
def test_predictions_lie_within_the_rewards(rewards, clusters):
    angles = np.linspace(0.0, 6.0, len(rewards))
    points = np.column_stack([np.cos(angles), np.sin(angles)])
    router = fitted(rewards, points, clusters=clusters)
    scores = router.predict_encoded(points.astype(np.float32))
    low, high = np.min(rewards, axis=0), np.max(rewards, axis=0)
    assert (scores >= low - 1e-4).all()
    assert (scores <= high + 1e-4).all()
