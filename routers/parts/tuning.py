"""A parameter that is left open, chosen by cross-validation on the training queries alone.

    def predict(count, table, vectors, asked): ...           # fit on `table` with this count, expected rewards for `asked`
    count = best_setting((8, 16, 32), predict, table, vectors, default=16, seed=0)

What counts is what a router is for: the reward of the experts it would have chosen. Not here: choosing between router types
(`routers/families/auto.py`), and reports (`routers/training/evaluation.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray
from routers.data.splits import fold_numbers
from routers.data.table import RewardTable

FOLDS = 3
MIN_ROWS = 50
"""With fewer rows cross-validation chooses by luck."""

Setting = TypeVar("Setting")


def best_setting(
    settings: Sequence[Setting],
    predict: Callable[[Setting, RewardTable, FloatArray, FloatArray], FloatArray],
    table: RewardTable,
    vectors: FloatArray,
    *,
    default: Setting,
    seed: int,
) -> Setting:
    """The setting whose choices earn most on held-out queries, the first of equals; `default` for fewer than `MIN_ROWS` texts."""
    if len(set(table.queries)) < MIN_ROWS:
        return default
    folds = fold_numbers(table, FOLDS, seed)
    earned = np.zeros(len(settings))
    for fold in range(FOLDS):
        train, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        fitted, unseen = table.rows(train), table.rows(held_out)
        for i, setting in enumerate(settings):
            scores = predict(setting, fitted, vectors[train], vectors[held_out])
            earned[i] += earnings(unseen, scores.argmax(axis=1)).sum()
    return settings[int(earned.argmax())]


def earnings(table: RewardTable, choice: NDArray[np.intp]) -> NDArray[np.float64]:
    """Reward of the chosen expert, `(n_queries,)` float64; its mean where it was not tried, corrected by weight where it was.

    That is the doubly robust estimate of Dudik et al. 2011 (arXiv 1103.4601) with a constant model, exact on a table without gaps.
    """
    rows = np.arange(len(table))
    means = table.means.astype(np.float64)[choice]
    above = np.where(table.tried[rows, choice], table.rewards[rows, choice] - means, 0.0)
    earned: NDArray[np.float64] = means + table.weights[rows, choice] * above
    return earned
