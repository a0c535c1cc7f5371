"""Outcomes as arrays, one row a query and one column an expert: what routers are fitted on and evaluated with.

    table = RewardTable.of(read_outcomes("train.jsonl.gz"))
    table.rewards                       # (n_queries, n_experts) float32, NaN where an expert was not tried
    table.rows(table.tried.all(axis=1)) # the queries that every expert was tried on

Answers and targets stay behind: they are for graders and fusion. Not here: reading files (`routers/data/outcomes.py`), splits and
duplicates (`routers/data/splits.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray, Outcome

MAX_WEIGHT = 20.0
"""An importance weight beyond this is cut: one lucky exploration must not decide a router."""


@dataclass(frozen=True)
class RewardTable:
    """rewards, costs: `(n_queries, n_experts)` float32, NaN where not tried or not known; rewards are 0..1.

    weights: `(n_queries, n_experts)` float32, how much a tried cell counts: 1, or 1/propensity, at most `MAX_WEIGHT`.
    groups, splits and ids: one per query, None where the outcome has none. Never seen by `predict`.
    """

    queries: tuple[str, ...]
    experts: tuple[str, ...]
    rewards: FloatArray
    costs: FloatArray
    weights: FloatArray
    groups: tuple[str | None, ...]
    splits: tuple[str | None, ...]
    ids: tuple[str | None, ...]
    cost_unit: str = "usd"

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], experts: Sequence[str] | None = None) -> Self:
        """Columns in the order of `experts`, by default of first appearance; a query none of them was tried on is left out.

        Raises ValueError for a reward that is no number from 0 to 1, and for costs in two units.
        """
        columns: dict[str, int] = {name: i for i, name in enumerate(experts or ())}
        kept, cells, units = [], [], set()
        for outcome in outcomes:
            tried = []
            for name, reward in outcome.rewards.items():
                if experts is None:
                    columns.setdefault(name, len(columns))
                if name in columns:
                    tried.append((columns[name], _checked(reward, name, outcome), *_cost_and_weight(outcome, name)))
            if tried:
                kept.append((outcome.query, outcome.group, outcome.split, outcome.id))
                cells.append(tried)
                units.update([outcome.cost_unit] if outcome.costs else [])
        if len(units) > 1:
            raise ValueError(f"costs in one unit were expected, got {' and '.join(sorted(units))}")
        rewards, costs, weights = _filled(cells, len(columns))
        queries, groups, splits, ids = (tuple(column) for column in zip(*kept, strict=True)) if kept else ((),) * 4
        unit = units.pop() if units else "usd"
        return cls(queries, tuple(columns), rewards, costs, weights, groups, splits, ids, unit)

    @classmethod
    def joined(cls, tables: Sequence[Self]) -> Self:
        """One after another. Raises ValueError unless all have the same experts and cost unit."""
        first = tables[0]
        if any((table.experts, table.cost_unit) != (first.experts, first.cost_unit) for table in tables):
            raise ValueError("tables of the same experts and cost unit were expected")
        return cls(
            tuple(query for table in tables for query in table.queries),
            first.experts,
            np.concatenate([table.rewards for table in tables]),
            np.concatenate([table.costs for table in tables]),
            np.concatenate([table.weights for table in tables]),
            tuple(group for table in tables for group in table.groups),
            tuple(split for table in tables for split in table.splits),
            tuple(id for table in tables for id in table.ids),
            first.cost_unit,
        )

    def __len__(self) -> int:
        return len(self.queries)

    @cached_property
    def tried(self) -> NDArray[np.bool_]:
        """`(n_queries, n_experts)`: where there is a reward."""
        return ~np.isnan(self.rewards)

    @cached_property
    def means(self) -> FloatArray:
        """`(n_experts,)`: weighted mean reward of each expert; for one never tried, the mean over all."""
        weights = np.where(self.tried, self.weights, 0.0).astype(np.float64)
        sums, totals = np.nansum(weights * self.rewards, axis=0), weights.sum(axis=0)
        means: FloatArray = np.where(totals > 0, sums / np.maximum(totals, 1e-12), self.mean).astype(np.float32)
        return means

    @cached_property
    def mean(self) -> float:
        """Weighted mean of all rewards; 0 without any."""
        weights = np.where(self.tried, self.weights, 0.0).astype(np.float64)
        return float(np.nansum(weights * self.rewards) / max(weights.sum(), 1e-12))

    def rows(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """The queries at `index` (positions, or a mask), in that order."""
        chosen = np.arange(len(self))[index]
        return type(self)(
            tuple(self.queries[i] for i in chosen),
            self.experts,
            self.rewards[chosen],
            self.costs[chosen],
            self.weights[chosen],
            tuple(self.groups[i] for i in chosen),
            tuple(self.splits[i] for i in chosen),
            tuple(self.ids[i] for i in chosen),
            self.cost_unit,
        )

    def only(self, experts: Sequence[str]) -> Self:
        """These columns, in this order, without the queries none of them was tried on. Raises ValueError for unknown ones."""
        if unknown := [name for name in experts if name not in self.experts]:
            raise ValueError(f"no outcome has the expert '{unknown[0]}', expected some of {', '.join(self.experts)}")
        columns = [self.experts.index(name) for name in experts]
        rewards = self.rewards[:, columns]
        narrowed = type(self)(
            self.queries,
            tuple(experts),
            rewards,
            self.costs[:, columns],
            self.weights[:, columns],
            self.groups,
            self.splits,
            self.ids,
            self.cost_unit,
        )
        return narrowed.rows(np.flatnonzero(narrowed.tried.any(axis=1)))


def _checked(reward: float, name: str, outcome: Outcome) -> float:
    if not 0.0 <= reward <= 1.0:  # False for NaN as well
        raise ValueError(
            f"reward of '{name}' for query {outcome.id or outcome.query[:40]!r}: expected 0 to 1, got {reward}"
        )
    return float(reward)


def _cost_and_weight(outcome: Outcome, name: str) -> tuple[float, float]:
    propensity = outcome.propensity.get(name, 1.0)
    return outcome.costs.get(name, math.nan), min(MAX_WEIGHT, 1.0 / propensity) if propensity > 0 else MAX_WEIGHT


def _filled(cells: Sequence[Sequence[tuple[int, float, float, float]]], columns: int) -> tuple[FloatArray, ...]:
    rewards = np.full((len(cells), columns), np.nan, dtype=np.float32)
    costs = np.full_like(rewards, np.nan)
    weights = np.ones_like(rewards)
    for row, tried in enumerate(cells):
        for column, reward, cost, weight in tried:
            rewards[row, column], costs[row, column], weights[row, column] = reward, cost, weight
    return rewards, costs, weights
