"""Scores become rewards, and the ranking stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from routers.base import Outcome
from routers.data.table import RewardTable
from routers.parts.calibration import RewardScale, fit_scale


def table_of(rewards):
    rows = [{f"e{i}": float(r) for i, r in enumerate(row) if not np.isnan(r)} for row in rewards]
    return RewardTable.of(
        [Outcome(f"q{n}", row) for n, row in enumerate(rows)], [f"e{i}" for i in range(len(rewards[0]))]
    )


@given(
    arrays(np.float32, (5, 4), elements=st.integers(-50, 50).map(lambda n: np.float32(n / 10))),
    st.floats(-2, 3),
    st.floats(0.01, 2),
)
@settings(deadline=None)
def test_every_row_keeps_its_order_within_0_and_1(scores, intercept, slope):
    rewards = RewardScale(np.zeros(2, dtype=np.float32), intercept, slope)(np.zeros((5, 2), dtype=np.float32), scores)
    assert rewards.min() >= -1e-6
    assert rewards.max() <= 1 + 1e-6
    for row, scored in zip(rewards, scores, strict=True):
        order = np.argsort(scored, kind="stable")
        assert (np.diff(row[order]) >= 0).all()
        assert (np.diff(row[order]) > 0).tolist() == (np.diff(scored[order]) > 0).tolist()


def test_the_slope_is_that_of_the_rewards():
    dice = np.random.default_rng(0)
    scores = dice.standard_normal((500, 3)).astype(np.float32)
    spread = scores - scores.mean(axis=1, keepdims=True)
    table = table_of(np.clip(0.5 + 0.1 * spread, 0, 1))
    scale = fit_scale(table, np.zeros((500, 2), dtype=np.float32), scores, np.arange(500))
    assert scale.slope == pytest.approx(0.1, abs=0.005)
    assert scale.intercept == pytest.approx(0.5, abs=0.005)


def test_the_level_is_learned_from_the_query():
    vectors = np.repeat(np.eye(2, dtype=np.float32), 200, axis=0)
    table = table_of(np.repeat([[0.9, 0.7], [0.3, 0.1]], 200, axis=0))
    scale = fit_scale(table, vectors, np.tile(np.float32([1.0, 0.0]), (400, 1)), np.arange(400))
    easy, hard = scale(np.eye(2, dtype=np.float32), np.float32([[1.0, 0.0], [1.0, 0.0]]))
    np.testing.assert_allclose(easy, [0.9, 0.7], atol=0.03)
    np.testing.assert_allclose(hard, [0.3, 0.1], atol=0.03)


def test_scores_that_mislead_count_for_next_to_nothing():
    table = table_of([[1.0, 0.0]] * 50)
    scores = np.tile(np.float32([0.0, 1.0]), (50, 1))
    scale = fit_scale(table, np.zeros((50, 2), dtype=np.float32), scores, np.arange(50))
    assert 0 < scale.slope < 1e-3


def test_an_expert_that_is_tried_on_hard_queries_alone_does_not_lower_their_level():
    """Both queries are as hard for `e0`; that `e1` was tried on the second alone says nothing about it."""
    table = table_of([[0.5, np.nan]] * 100 + [[0.5, 0.1]] * 100)
    vectors = np.repeat(np.eye(2, dtype=np.float32), 100, axis=0)
    scale = fit_scale(table, vectors, np.tile(np.float32([1.0, 0.0]), (200, 1)), np.arange(200))
    one, two = scale(np.eye(2, dtype=np.float32), np.float32([[1.0, 0.0], [1.0, 0.0]])).mean(axis=1)
    assert one == pytest.approx(two, abs=0.01)
