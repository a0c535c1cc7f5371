"""Races: experts answer the same queries in the same order, and those that are proven to be beaten are asked no more.

    uniform            everybody answers everything until the question is decided: the baseline
    best_arm           the best expert over all queries
    best_arm_by_group  the best of each group, a race a group
    mean_ranking       all experts by their mean reward over all queries; whoever is told apart from all others is asked no more

An elimination race (Maron and Moore 1994; Even-Dar, Mannor and Mansour 2006) on common queries, with evidence by betting
(`evidence.py`). An expert is out when the capitals of the bets that others beat it are `1 / delta` on average: an average of such
capitals is one, too, so for the best expert this happens with a chance of at most delta, and costs less than a union bound over
opponents does (averaging as by Cho, Gan and Kallus 2024, arXiv 2402.06122). Batches grow with what was asked, by a quarter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evals.active.base import Goal, Problem, Step, Verdict, as_pairs
from evals.active.evidence import Evidence
from routers.base import FloatArray

GROWTH = 4
"""A batch is at most a fourth of what was asked before, or the problem's least batch."""


class BestRace:
    """One race for the best expert. alive: `(n_experts,)`, those that may be it."""

    def __init__(self, num_experts: int, delta: float) -> None:
        self.alive: NDArray[np.bool_] = np.ones(num_experts, dtype=bool)
        self._bar = np.log(max(num_experts - 1, 1) / delta)

    def judge(self, evidence: Evidence) -> None:
        """Take out who is proven to be beaten, but never the last."""
        beaten_by = evidence.log_beats.copy()
        np.fill_diagonal(beaten_by, -np.inf)
        against = np.logaddexp.reduce(beaten_by, axis=0)
        left: NDArray[np.bool_] = np.logical_and(self.alive, against < self._bar)
        if left.any():
            self.alive = left

    @property
    def running(self) -> NDArray[np.bool_]:
        """Who is to be asked further."""
        return self.alive if self.alive.sum() > 1 else np.zeros_like(self.alive)


class RankingRace:
    """One race for the order of all. beats: `(n_experts, n_experts)`, what is proven, with what follows from it."""

    def __init__(self, num_experts: int, delta: float) -> None:
        self.beats: NDArray[np.bool_] = np.zeros((num_experts, num_experts), dtype=bool)
        self._bar = np.log(max(num_experts * (num_experts - 1) / 2, 1) / delta)

    def judge(self, evidence: Evidence) -> None:
        self.beats = transitive(self.beats | ((evidence.log_beats >= self._bar) & ~self.beats.T))

    @property
    def running(self) -> NDArray[np.bool_]:
        """Those that aren't told apart from somebody."""
        num_settled = (self.beats | self.beats.T).sum(axis=1)
        running: NDArray[np.bool_] = num_settled < len(self.beats) - 1
        return running


class Heat:
    """The queries of one race, from the first to the last, and the evidence of them."""

    def __init__(
        self, problem: Problem, queries: NDArray[np.intp], race: BestRace | RankingRace, *, all_along: bool
    ) -> None:
        self.race = race
        self.queries = queries
        self._problem = problem
        self._all_along = all_along
        self._evidence = Evidence(problem.num_experts, len(queries) if problem.finite else None)
        self._asked = self._next = 0
        self._asking = race.running

    def advance(self, rewards: FloatArray) -> NDArray[np.bool_]:
        """`(n_queries, n_experts)`: what to pay for next, given what was. None of it is there already."""
        wanted = np.zeros(rewards.shape, dtype=bool)
        while not wanted.any():
            self._judge(rewards)
            running = self.race.running
            if not running.any() or self._asked == len(self.queries):
                break
            self._asking = running | self._all_along
            self._next = min(len(self.queries), self._asked + max(self._problem.batch, self._asked // GROWTH))
            batch = self.queries[self._asked : self._next]
            wanted[np.ix_(batch, np.flatnonzero(self._asking))] = True
            wanted &= np.isnan(rewards)
        return wanted

    def _judge(self, rewards: FloatArray) -> None:
        """What was asked for last, as it came."""
        if self._next > self._asked:
            batch = rewards[self.queries[self._asked : self._next]]
            self._evidence.add(np.where(self._asking, batch, np.nan))
            self._asked = self._next
            self.race.judge(self._evidence)


class Racing:
    """A `Sampler`. all_along: whether experts that are out are asked like the others."""

    def __init__(self, problem: Problem, goal: Goal, *, all_along: bool = False) -> None:
        self._goal: Goal = goal
        n, delta = problem.num_experts, problem.delta
        lists = [np.arange(len(problem.groups))]
        if goal == "best-by-group":
            lists = [problem.members(group) for group in range(problem.num_groups)]
        races = [RankingRace(n, delta) if goal == "ranking" else BestRace(n, delta / len(lists)) for _ in lists]
        self._heats = [Heat(problem, *each, all_along=all_along) for each in zip(lists, races, strict=True)]

    def advance(self, rewards: FloatArray) -> Step:
        wanted = np.any([heat.advance(rewards) for heat in self._heats], axis=0)
        return Step(self._verdict(rewards), as_pairs(wanted))

    def _verdict(self, rewards: FloatArray) -> Verdict:
        if self._goal == "ranking":
            (heat,) = self._heats
            assert isinstance(heat.race, RankingRace)
            return ranking_verdict(heat.race.beats, rewards)
        standing = (_standing(heat, rewards) for heat in self._heats)
        return Verdict(self._goal, standing=tuple(standing))


def ranking_verdict(beats: NDArray[np.bool_], rewards: FloatArray) -> Verdict:
    """From what is proven `(n_experts, n_experts)`; who beats as many as another stands before it with the higher mean reward."""
    order = np.lexsort((-mean_rewards(rewards), beats.sum(axis=0) - beats.sum(axis=1)))
    open_ = [(i, j) for place, i in enumerate(order) for j in order[place + 1 :] if not (beats[i, j] or beats[j, i])]
    return Verdict("ranking", ranking=tuple(map(int, order)), unsettled=tuple((int(i), int(j)) for i, j in open_))


def mean_rewards(rewards: FloatArray) -> FloatArray:
    """`(n_experts,)`: of what was paid for; 0 where nothing was."""
    known = ~np.isnan(rewards)
    means: FloatArray = np.nansum(rewards, axis=0) / np.maximum(known.sum(axis=0), 1)
    return means


def transitive(beats: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """With what follows: who beats one that beats a third beats the third (Warshall 1962)."""
    closed = beats.copy()
    for middle in range(len(closed)):
        closed |= closed[:, [middle]] & closed[[middle], :]
    return closed


def _standing(heat: Heat, rewards: FloatArray) -> tuple[int, ...]:
    assert isinstance(heat.race, BestRace)
    means = mean_rewards(rewards[heat.queries])
    alive = np.flatnonzero(heat.race.alive)
    return tuple(int(expert) for expert in alive[np.argsort(-means[alive], kind="stable")])
