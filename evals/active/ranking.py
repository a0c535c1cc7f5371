"""Experts ranked by where they differ most: active ranking over many groups (Saad, Verzelen and Carpentier 2023, arXiv 2306.02628).

    active_ranking     assumes that of two experts one is at least as good in every group

Where that holds, a win in any group is a win: two experts are compared by sequential halving over groups, which finds one where
their rewards lie far apart and spends the calls there, in rounds of twice the calls until one is proven better; experts are put
into the ranking one by one, by binary search. Ours differs from the paper in the proof: where that compares means, we bet
(`evidence.py`) on the same queries for both, so that every answer of every round counts; and what an expert answered in one
comparison is there for the next. The assumption is tested as answers come in (`crossings.py`): once a pair of experts crosses,
half of delta being kept for saying so wrongly, the question becomes the best expert of each group.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from evals.active.base import Crossing, Problem, Step, as_pairs
from evals.active.crossings import find_crossings
from evals.active.evidence import BETS, log_capital, log_growth
from evals.active.racing import Racing, mean_rewards, ranking_verdict, transitive
from routers.base import FloatArray

LEAST = 2
"""Queries of each group that two experts are compared on at first."""
CHECK_AFTER = 1.3
"""The assumption is tested again when so many times the calls have been paid for."""

Wanted = NDArray[np.bool_]
Paying = Generator[Wanted, FloatArray, FloatArray]
"""Yields the cells `(n_queries, n_experts)` to pay for, is sent all rewards, and returns them as they are in the end."""


class Comparison:
    """Two experts, group by group. sign: 1 where the first is proven better, -1 where the second is, 0 while neither is."""

    def __init__(
        self, problem: Problem, members: list[NDArray[np.intp]], first: int, second: int, delta: float
    ) -> None:
        self._problem = problem
        self._members = members
        self._experts = np.array([first, second])
        self._bar = np.log(1 / delta)
        self._asked = np.zeros(len(members), dtype=np.intp)
        self._count = np.zeros(len(members))
        self._lead = np.zeros(len(members))
        self._capital = np.zeros((2, len(BETS)))
        self.sign = 0

    def run(self, rewards: FloatArray) -> Paying:
        """Until one is better, or there is no query left."""
        calls = max(LEAST * len(self._members), self._problem.batch)
        while not self.sign and len(groups := self._unfinished()):
            while not self.sign:
                rewards = yield from self._ask(groups, -(-calls // len(groups)), rewards)
                if len(groups) == 1:
                    break
                gaps = np.abs(self._lead[groups]) / np.maximum(self._count[groups], 1)
                groups = groups[np.argsort(-gaps, kind="stable")[: -(-len(groups) // 2)]]
            calls *= 2
        return rewards

    def _unfinished(self) -> NDArray[np.intp]:
        return np.flatnonzero(self._asked < [len(queries) for queries in self._members])

    def _ask(self, groups: NDArray[np.intp], each: int, rewards: FloatArray) -> Paying:
        """Both experts, the next queries of each of the groups; those that one has answered before are there already."""
        batches = {group: self._members[group][self._asked[group] :][:each] for group in groups}
        wanted = np.zeros(rewards.shape, dtype=bool)
        wanted[np.ix_(np.concatenate(list(batches.values())), self._experts)] = True
        wanted &= np.isnan(rewards)
        if wanted.any():
            rewards = yield wanted
        for group, queries in batches.items():
            self._asked[group] += len(queries)
            self._learn(group, rewards[queries][:, self._experts].astype(np.float64))
        return rewards

    def _learn(self, group: int, rewards: NDArray[np.float64]) -> None:
        """What `(m, 2)` rewards of one group say, NaN where somebody failed."""
        differences = rewards[:, 0] - rewards[:, 1]
        both = np.stack([differences, -differences], axis=1)
        self._capital += log_growth(both, np.zeros(2), np.zeros(2), None)
        self._lead[group] += np.nansum(differences)
        self._count[group] += (~np.isnan(differences)).sum()
        proven = log_capital(self._capital) >= self._bar
        if not self.sign and proven.any():
            self.sign = 1 if proven[0] else -1


class ActiveRanking:
    """A `Sampler`. Raises ValueError for a finite problem: of a few queries alone, hardly any order holds in every group."""

    def __init__(self, problem: Problem) -> None:
        if problem.finite:
            raise ValueError("active_ranking is about all queries like these; about these alone, expected mean_ranking")
        self._half = replace(problem, delta=problem.delta / 2)
        self._beats = np.zeros((problem.num_experts, problem.num_experts), dtype=bool)
        self._crossings: tuple[Crossing, ...] = ()
        self._by_group = Racing(self._half, "best-by-group")
        self._sorting: Paying | None = None
        self._check_at = 0.0

    def advance(self, rewards: FloatArray) -> Step:
        wanted = np.zeros(rewards.shape, dtype=bool) if self._crossings else self._next(rewards)
        num_paid = (~np.isnan(rewards)).sum()
        if not self._crossings and (num_paid >= self._check_at or not wanted.any()):
            self._crossings = find_crossings(rewards, self._half, self._half.delta)
            self._check_at = CHECK_AFTER * num_paid
        if self._crossings:
            step = self._by_group.advance(rewards)
            return Step(replace(step.verdict, crossings=self._crossings), step.pairs)
        verdict = ranking_verdict(self._beats, rewards)
        return Step(replace(verdict, one_order=True), as_pairs(wanted))

    def _next(self, rewards: FloatArray) -> Wanted:
        """What sorting asks for next, nothing where it has ended."""
        try:
            if self._sorting is None:
                self._sorting = self._sort(rewards)
                return next(self._sorting)
            return self._sorting.send(rewards)
        except StopIteration:
            return np.zeros(rewards.shape, dtype=bool)

    def _sort(self, rewards: FloatArray) -> Paying:
        order: list[int] = []
        for expert in range(self._half.num_experts):
            low, high = 0, len(order)
            while low < high:
                middle = (low + high) // 2
                sign, rewards = yield from self._compared(expert, order[middle], rewards)
                low, high = (low, middle) if sign > 0 else (middle + 1, high)
            order.insert(low, expert)
        return rewards

    def _compared(
        self, first: int, second: int, rewards: FloatArray
    ) -> Generator[Wanted, FloatArray, tuple[float, FloatArray]]:
        """Positive where the first goes before the second: proven, or else by what both answered."""
        n = self._half.num_experts
        members = [self._half.members(group) for group in range(self._half.num_groups)]
        comparison = Comparison(self._half, members, first, second, self._half.delta / (n * (n - 1) / 2))
        rewards = yield from comparison.run(rewards)
        if comparison.sign:
            better, worse = (first, second) if comparison.sign > 0 else (second, first)
            self._beats[better, worse] = True
            self._beats = transitive(self._beats)
            return comparison.sign, rewards
        means = mean_rewards(rewards)
        return float(means[first] - means[second]), rewards
