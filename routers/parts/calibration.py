"""Scores that only rank experts become expected rewards, and the ranking stays.

    scale = fit_scale(table, vectors, scores, rows)
    scale(vectors, scores)          # (n_queries, n_experts): 0..1, in each row in the order of the scores

A router that learned shares or similarities says which expert is better for a query and not how well it will do. Expected reward is
taken to be the query's level (ridge regression of its mean reward) plus a slope times how far an expert's score lies from
the query's mean score. The slope, one for all, is by least squares on rows that the scores were not fitted to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray
from routers.data.table import RewardTable

LEVEL_PENALTY = 10.0
"""Of the level's squared weights, in rows."""
MIN_SLOPE = 1e-4
"""Scores that say nothing still rank, by rewards this close."""


@dataclass(frozen=True)
class RewardScale:
    """weights: `(dimensions,)`, of the level."""

    weights: FloatArray
    intercept: float
    slope: float

    def __call__(self, vectors: FloatArray, scores: FloatArray) -> FloatArray:
        """A row that would leave 0..1 is drawn together around its level, so that no two experts come to be equal."""
        level = np.clip(vectors @ self.weights + np.float32(self.intercept), 0.01, 0.99)
        spread = np.float32(self.slope) * (scores - scores.mean(axis=1, keepdims=True))
        highest, lowest = spread.max(axis=1), -spread.min(axis=1)
        fits = np.minimum((1.0 - level) / np.maximum(highest, 1e-9), level / np.maximum(lowest, 1e-9))
        rewards: FloatArray = level[:, None] + np.minimum(fits, 1.0)[:, None] * spread
        return rewards


def fit_scale(
    table: RewardTable, vectors: FloatArray, scores: FloatArray, rows: NDArray[np.intp] | NDArray[np.bool_]
) -> RewardScale:
    """scores: `(n_queries, n_experts)`, any unit. rows: those that the slope is fitted to."""
    weights, intercept = _level(table, vectors)
    spread = scores[rows] - scores[rows].mean(axis=1, keepdims=True)
    above = table.rewards[rows] - (vectors[rows] @ weights + intercept)[:, None]
    tried = table.tried[rows]
    counts, spread = table.weights[rows][tried], spread[tried]
    slope = float(counts @ (spread * above[tried])) / max(float(counts @ spread**2), 1e-9)
    return RewardScale(weights, intercept, max(slope, MIN_SLOPE))


def _level(table: RewardTable, vectors: FloatArray) -> tuple[FloatArray, float]:
    """Ridge regression of each query's mean reward, which is taken over the experts' differences from their own means."""
    from sklearn.linear_model import Ridge

    weights = np.where(table.tried, table.weights, 0.0)
    above = np.where(table.tried, table.rewards - table.means, 0.0)
    totals = weights.sum(axis=1)
    model = Ridge(alpha=LEVEL_PENALTY).fit(vectors, (weights * above).sum(axis=1) / totals, sample_weight=totals)
    return model.coef_.astype(np.float32), float(model.intercept_ + table.means.mean())
