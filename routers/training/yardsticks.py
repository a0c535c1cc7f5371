"""What a router is measured against, chosen on the training data: the best single expert, and the best one of each group.

    summary = TrainingSummary.of(train)           # goes into the artifact, so that `switchyard evaluate` has it
    summary.yardsticks(test).best_single          # (n_queries,) columns of `test`

Not here: what they earn (`evaluation.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from routers.data.table import RewardTable
from routers.training.evaluation import Choice


@dataclass(frozen=True, slots=True)
class Yardsticks:
    """A column `(n_queries,)` for each query: the expert best in reward, best in its group, and best in utility."""

    best_single: Choice
    group_best: Choice
    best_by_utility: Choice

    @classmethod
    def empty(cls, n: int) -> Self:
        """For `n` queries, to be filled a fold at a time."""
        return cls(*(np.zeros(n, dtype=np.intp) for _ in range(3)))

    def rows(self, index: Choice) -> Self:
        """Those of the queries at `index`."""
        return type(self)(self.best_single[index], self.group_best[index], self.best_by_utility[index])

    def put(self, rows: Choice, part: Self) -> None:
        """Fill in those of `rows`."""
        self.best_single[rows] = part.best_single
        self.group_best[rows] = part.group_best
        self.best_by_utility[rows] = part.best_by_utility


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """Of the training data: mean reward and cost (in its unit) by expert, mean reward by group and expert, and a fingerprint."""

    num_queries: int
    rewards: Mapping[str, float]
    costs: Mapping[str, float]
    groups: Mapping[str, Mapping[str, float]]
    fingerprint: str

    @classmethod
    def of(cls, table: RewardTable) -> Self:
        groups = np.array(table.groups, dtype=object)
        names = sorted({group for group in table.groups if group is not None})
        by_group = {name: _mean_rewards(table.rows(np.flatnonzero(groups == name))) for name in names}
        priced = ~np.isnan(table.costs)
        costs = {
            name: float(table.costs[priced[:, i], i].mean())
            for i, name in enumerate(table.experts)
            if priced[:, i].any()
        }
        return cls(len(table), _mean_rewards(table), costs, by_group, fingerprint(table))

    def yardsticks(self, table: RewardTable, *, unit_price: float = 0.0) -> Yardsticks | None:
        """For the table's queries and experts; a group that was not trained on gets the best single. None without known experts.

        unit_price: reward given up per unit of cost.
        """
        best = _best(self.rewards, table)
        utility = {name: reward - unit_price * self.costs.get(name, 0.0) for name, reward in self.rewards.items()}
        thrifty = _best(utility, table)
        if best is None or thrifty is None:
            return None
        by_group = {name: _best(means, table) for name, means in self.groups.items()}
        columns = [None if group is None else by_group.get(group) for group in table.groups]
        return Yardsticks(
            np.full(len(table), best, dtype=np.intp),
            np.array([best if column is None else column for column in columns], dtype=np.intp),
            np.full(len(table), thrifty, dtype=np.intp),
        )


def fingerprint(table: RewardTable) -> str:
    """Of queries, experts and rewards."""
    digest = hashlib.sha256("\0".join(table.experts).encode("utf-8", "surrogatepass"))
    for query in table.queries:
        digest.update(query.encode("utf-8", "surrogatepass") + b"\0")
    digest.update(table.rewards.tobytes())
    return digest.hexdigest()[:16]


def _mean_rewards(table: RewardTable) -> dict[str, float]:
    """By expert that was tried."""
    return {name: float(table.means[i]) for i, name in enumerate(table.experts) if table.tried[:, i].any()}


def _best(means: Mapping[str, float], table: RewardTable) -> int | None:
    """The table's column with the highest mean, the first of equals."""
    known = [i for i, name in enumerate(table.experts) if name in means]
    return max(known, key=lambda i: means[table.experts[i]]) if known else None
