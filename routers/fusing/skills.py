"""What is expected of each expert on a query before it is asked: whether its answer is usable, and whether it is right.

    router, expected = cross_fitted(table, vectors, encoder)     # of the training queries, by routers that have not seen them
    expected = Expected.of(router.predict_encoded(vectors), experts)
    expected.right, expected.right_if_usable                     # (n, m), 0..1

One router (`routers/families/tagged.py`) learns both, as if each expert were two. Not here: what answers say once they are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from routers.base import Encoder, FloatArray
from routers.data.splits import fold_numbers
from routers.data.table import RewardTable
from routers.families.tagged import TaggedRouter
from routers.fusing.table import AnswerTable, Rows
from routers.fusing.voting import usable
from routers.parts.network import logit

FOLDS = 4
FOLD_SEED = 1
"""Of folds within a training part: not those that the part itself was made by."""
LEAST_USABLE = 0.3
"""Below this, that an answer is usable says nothing of how right it is."""


@dataclass(frozen=True, slots=True)
class Expected:
    """right: `(n, m)`, expected reward, 0 for an unusable answer. right_if_usable: of a usable one."""

    right: FloatArray
    right_if_usable: FloatArray

    @classmethod
    def of(cls, predictions: FloatArray) -> Self:
        """predictions: `(n, 2 * m)`, rewards beside shares of usable answers."""
        right, usable_share = np.split(np.clip(predictions, 0.0, 1.0), 2, axis=1)
        return cls(right, np.clip(right / np.maximum(usable_share, LEAST_USABLE), 0.0, 1.0).astype(np.float32))

    @property
    def strength(self) -> FloatArray:
        """`(n, m)`: log-odds that a usable answer is right."""
        return logit(self.right_if_usable)


def two_columns(table: AnswerTable) -> RewardTable:
    """Rewards, 0 for unusable answers, beside whether they were usable: `(n, 2 * m)`, NaN where not tried."""
    is_usable = usable(table)
    rewards = np.where(is_usable, table.rewards, np.float32(0.0))
    both = np.hstack([np.where(table.tried, rewards, np.nan), np.where(table.tried, is_usable, np.nan)])
    plain = table.reward_table()
    names = (*table.experts, *(f"{name} (usable)" for name in table.experts))
    return replace(
        plain,
        experts=names,
        rewards=both.astype(np.float32),
        costs=np.full(both.shape, np.nan, dtype=np.float32),
        weights=np.ones(both.shape, dtype=np.float32),
    )


def inner_folds(queries: RewardTable) -> Rows:
    """`(n,)`: a fold per query; with fewer distinct queries than folds, as many folds as there are of them."""
    return fold_numbers(queries, min(FOLDS, len(set(queries.queries))), FOLD_SEED)


def cross_fitted(
    table: AnswerTable, vectors: FloatArray, encoder: Encoder, folds: Rows
) -> tuple[TaggedRouter, Expected]:
    """The router of all queries, and what routers expect of each of `folds` that were fitted to the others."""
    columns = two_columns(table)
    predictions = np.zeros(columns.rewards.shape, dtype=np.float32)
    for fold in np.unique(folds):
        seen, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        router = TaggedRouter(encoder=encoder).fit_encoded(columns.rows(seen), vectors[seen])
        predictions[unseen] = router.predict_encoded(vectors[unseen])
    return TaggedRouter(encoder=encoder).fit_encoded(columns, vectors), Expected.of(predictions)


@dataclass(frozen=True, slots=True)
class Ranking:
    """In which order experts are asked. usable: how much counts that an answer may be unusable, 0..1.

    query: how much counts what is expected on the query at hand, and not on all queries.
    """

    usable: float
    query: float

    def order(self, expected: Expected, overall: Expected, handicap: FloatArray | float = 0.0) -> Rows:
        """`(n, m)`: experts, best first. overall: `(1, m)`. handicap: `(m,)`, log-odds that count against each."""
        mixed = self.query * self._value(expected) + (1.0 - self.query) * self._value(overall)
        return np.argsort(handicap - mixed, axis=1, kind="stable")

    def _value(self, expected: Expected) -> FloatArray:
        value: FloatArray = self.usable * logit(expected.right) + (1.0 - self.usable) * expected.strength
        return value


def overall(table: AnswerTable) -> Expected:
    """`(1, m)`: what is expected of each expert on any query of the table."""
    return Expected.of(two_columns(table).means[None, :])


def best_ranking(table: AnswerTable, expected: Expected, rankings: Sequence[Ranking], *, retry: bool) -> Ranking:
    """The ranking whose first answers earn most on the table; the first, unless another earns more by a standard error.

    retry: first usable answers count.
    """
    general, is_usable = overall(table), usable(table)
    rewards = np.where(is_usable, table.rewards, np.float32(0.0))
    rows = np.arange(len(table))

    def earned(ranking: Ranking) -> FloatArray:
        order = ranking.order(expected, general)
        there = np.take_along_axis(is_usable if retry else table.tried, order, axis=1)
        found: FloatArray = rewards[rows, order[rows, there.argmax(axis=1)]]
        return found

    every = [earned(ranking) for ranking in rankings]
    best = int(np.argmax([each.mean() for each in every]))
    gain = every[best] - every[0]
    return rankings[best if gain.mean() > gain.std() / np.sqrt(len(table)) else 0]
