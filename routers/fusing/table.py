"""Recorded answers as arrays, one row a query and one column an expert: what fusion is learned from and judged by.

    table = AnswerTable.from_outcomes(read_outcomes("train.jsonl.gz"))
    table.answers[0]                      # array(['4', '4', None, '5'], dtype=object): two agree, one said nothing of use
    fused = method.fit(train).fuse(test)
    fused.rewards(test).mean(), fused.calls.mean()

An expert is tried where the outcome has its answer, which may be null, and its reward. Not here: how answers are told to be
equal (`routers/data/answers.py`), reading files (`routers/data/loading.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray, Outcome
from routers.data.answers import final_answers
from routers.data.table import RewardTable

ObjectArray = NDArray[np.object_]
BoolArray = NDArray[np.bool_]
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class AnswerTable:
    """answers, texts: `(n, m)`, what each expert concluded and how it was written; None where unusable or not tried.

    Equal conclusions are equal. rewards: `(n, m)` 0..1, NaN where not tried. costs: `(n, m)` in `cost_unit`, NaN where not known.
    tried: `(n, m)`. groups: one per query, for training and reports.
    """

    queries: tuple[str, ...]
    experts: tuple[str, ...]
    answers: ObjectArray
    tried: BoolArray
    rewards: FloatArray
    costs: FloatArray
    groups: tuple[str | None, ...]
    texts: ObjectArray
    cost_unit: str = "usd"

    @classmethod
    def from_outcomes(cls, outcomes: Iterable[Outcome], experts: Sequence[str] | None = None) -> Self:
        """Columns in the order of `experts`, by default of first appearance; queries without an answer are left out.

        Raises ValueError when no query has an answer, for a reward that is no number from 0 to 1, and for costs in two units.
        """
        kept = [outcome for outcome in map(_answered, outcomes) if outcome.rewards]
        rewards = RewardTable.of(kept, experts)
        wanted = set(rewards.experts)
        rows = [outcome.answers for outcome in kept if not wanted.isdisjoint(outcome.rewards)]
        if not rows:
            raise ValueError("fusion learns from outcomes with 'answers', got none that has one and a reward for it")
        texts = np.array([[row.get(name) or None for name in rewards.experts] for row in rows], dtype=np.object_)
        return cls(
            rewards.queries,
            rewards.experts,
            concluded(texts),
            rewards.tried,
            rewards.rewards,
            rewards.costs,
            rewards.groups,
            texts,
            rewards.cost_unit,
        )

    def __len__(self) -> int:
        return len(self.queries)

    def rows(self, index: Rows | BoolArray) -> Self:
        """The queries at `index` (positions, or a mask), in that order."""
        chosen = np.arange(len(self))[index]
        return type(self)(
            tuple(self.queries[i] for i in chosen),
            self.experts,
            self.answers[chosen],
            self.tried[chosen],
            self.rewards[chosen],
            self.costs[chosen],
            tuple(self.groups[i] for i in chosen),
            self.texts[chosen],
            self.cost_unit,
        )

    def only(self, experts: Sequence[str]) -> Self:
        """These columns, in this order, without the queries none of them was tried on. Raises ValueError for unknown ones."""
        if unknown := [name for name in experts if name not in self.experts]:
            raise ValueError(f"no outcome has the expert '{unknown[0]}', expected some of {', '.join(self.experts)}")
        columns = [self.experts.index(name) for name in experts]
        narrowed = type(self)(
            self.queries,
            tuple(experts),
            concluded(self.texts[:, columns]),
            self.tried[:, columns],
            self.rewards[:, columns],
            self.costs[:, columns],
            self.groups,
            self.texts[:, columns],
            self.cost_unit,
        )
        return narrowed.rows(np.flatnonzero(narrowed.tried.any(axis=1)))

    def widened(self, experts: Sequence[str]) -> Self:
        """With these columns, in this order; those that are new were not tried. Raises ValueError when one is missing."""
        if unknown := [name for name in self.experts if name not in experts]:
            raise ValueError(f"'{unknown[0]}' is unknown here, expected some of {', '.join(experts)}")
        places = [experts.index(name) for name in self.experts]

        def spread(cells: NDArray[Any], gap: object) -> NDArray[Any]:
            wide = np.full((len(self), len(experts)), gap, dtype=cells.dtype)
            wide[:, places] = cells
            return wide

        return type(self)(
            self.queries,
            tuple(experts),
            spread(self.answers, None),
            spread(self.tried, False),
            spread(self.rewards, np.nan),
            spread(self.costs, np.nan),
            self.groups,
            spread(self.texts, None),
            self.cost_unit,
        )

    def reward_table(self) -> RewardTable:
        """The same outcomes without their answers, for routers and splits."""
        nothing = (None,) * len(self)
        ones = np.ones_like(self.rewards)
        return RewardTable(
            self.queries, self.experts, self.rewards, self.costs, ones, self.groups, nothing, nothing, self.cost_unit
        )

    def mean_costs(self) -> FloatArray:
        """`(m,)`: of a call to each expert, NaN for one whose costs are not known."""
        known = ~np.isnan(self.costs)
        means: FloatArray = np.where(known, self.costs, 0.0).sum(axis=0, dtype=np.float64) / np.maximum(
            known.sum(axis=0), 1
        )
        return np.where(known.any(axis=0), means, np.nan).astype(np.float32)

    def filled_costs(self) -> FloatArray:
        """`(n, m)`: where a cost is not known, the expert's mean; NaN where that isn't known either."""
        return np.where(np.isnan(self.costs), self.mean_costs(), self.costs)


@dataclass(frozen=True, slots=True)
class Fused:
    """What a method made of a table. chosen: `(n,)`, the expert whose answer is taken. asked: `(n, m)`."""

    chosen: Rows
    asked: BoolArray

    def rewards(self, table: AnswerTable) -> FloatArray:
        """`(n,)`: of the answers taken; 0 for one that is unusable or was not tried."""
        rows = np.arange(len(table))
        usable = table.answers[rows, self.chosen] != None  # noqa: E711  of every cell of an object array
        taken: FloatArray = np.where(usable, np.nan_to_num(table.rewards[rows, self.chosen]), np.float32(0.0))
        return taken

    @property
    def calls(self) -> NDArray[np.intp]:
        """`(n,)`: how many experts were asked."""
        return np.asarray(self.asked.sum(axis=1))

    def costs(self, table: AnswerTable) -> FloatArray:
        """`(n,)`: of the calls made, in the table's unit; NaN where one was of an expert whose costs are not known."""
        spent: FloatArray = np.where(self.asked, table.filled_costs(), np.float32(0.0)).sum(axis=1)
        return spent


class Method(Protocol):
    """A way to make one answer of several: estimator convention, `fit` learns from the rewards and `fuse` never sees them."""

    def fit(self, table: AnswerTable) -> Self: ...

    def fuse(self, table: AnswerTable) -> Fused: ...


def concluded(texts: ObjectArray) -> ObjectArray:
    """What texts `(n, m)` conclude in, those of a row made comparable; None where there is no text or nothing in it."""
    answers = np.empty(texts.shape, dtype=np.object_)
    for row, written in zip(answers, texts, strict=True):
        row[:] = final_answers(written.tolist())
    return answers


def _answered(outcome: Outcome) -> Outcome:
    """Without the rewards of experts whose answer is not recorded."""
    if outcome.rewards.keys() <= outcome.answers.keys():
        return outcome
    kept = {name: reward for name, reward in outcome.rewards.items() if name in outcome.answers}
    return Outcome(
        outcome.query,
        kept,
        outcome.id,
        outcome.group,
        outcome.split,
        outcome.costs,
        outcome.cost_unit,
        outcome.answers,
    )
