"""A placement in milliseconds, without a solver: what fits is resident, the most needed first; the rest visit.

    placement = greedy(problem)

It is what `placing.py` falls back on, and what tests hold the integer program against.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from orchestrator.scheduler.placement.base import Bools, Floats, Placement, Problem

_Ints = NDArray[np.intp]


def greedy(problem: Problem) -> Placement:
    """The cheapest of several: with room for visitors on no node, on the largest, the two largest, ..., by several orders."""
    return min(_candidates(problem), key=lambda placement: problem.cost(placement).total)


def _candidates(problem: Problem) -> Iterator[Placement]:
    saved = problem.swapping.max(axis=1) / np.maximum(problem.memory_gb, 1e-9)
    orders = (np.argsort(-saved, kind="stable"), np.argsort(-problem.work.max(axis=1), kind="stable"))
    largest = np.argsort(-problem.room_gb, kind="stable")
    for order in orders:
        for rooms in range(problem.shape[1] + 1):
            hosts = np.zeros(problem.shape[1], dtype=np.bool_)
            hosts[largest[:rooms]] = True
            filling = _Filling(problem, hosts)
            if filling.place(order):
                yield filling.placement()


class _Filling:
    """Nodes being filled. hosts: `(n_nodes,)`, those that keep room for the largest expert, which visitors share."""

    def __init__(self, problem: Problem, hosts: Bools) -> None:
        self._problem, self._hosts = problem, hosts
        kept = np.minimum(problem.memory_gb.max(), problem.room_gb)
        self._kept_gb = np.where(hosts, kept, 0.0)
        self._free_gb = problem.room_gb - self._kept_gb
        self._loads = np.zeros(problem.shape[1])
        self._home = np.full(problem.shape[0], -1, dtype=np.intp)
        self._visits = np.zeros(problem.shape[0], dtype=np.bool_)
        self._colleagues = _colleagues(problem)

    def place(self, order: _Ints) -> bool:
        """Whether every expert found a place."""
        for expert in order:
            node = self._best(expert, self._free_gb >= self._problem.memory_gb[expert], visiting=False)
            if node is not None:
                self._settle(expert, node)
        for expert in order[self._home[order] < 0]:
            node = self._best(expert, self._kept_gb >= self._problem.memory_gb[expert], visiting=True)
            if node is None:
                return False
            self._settle(expert, node, visiting=True)
        return True

    def placement(self) -> Placement:
        shares = np.zeros(self._problem.shape)
        shares[np.arange(len(self._home)), self._home] = 1.0
        resident = (shares > 0) & ~self._visits[:, None]
        return Placement(resident, (shares > 0) & self._visits[:, None], shares)

    def _best(self, expert: int, possible: Bools, *, visiting: bool) -> int | None:
        """The node that is left with the least load, pair and move costs counted."""
        problem = self._problem
        if not possible.any():
            return None
        kind = problem.swapping if visiting else problem.moving
        cost = self._loads + problem.work[expert] + kind[expert] + self._network(expert)
        return int(np.argmin(np.where(possible, cost, np.inf)))

    def _network(self, expert: int) -> Floats:
        places, leaving = self._problem.places
        cost = np.zeros(self._problem.shape[1])
        for other, rate in self._colleagues[expert]:
            if self._home[other] >= 0:
                apart = places != places[:, self._home[other], None]
                cost += rate * (leaving @ apart)
        return cost

    def _settle(self, expert: int, node: int, *, visiting: bool = False) -> None:
        self._home[expert] = node
        self._visits[expert] = visiting
        self._loads[node] += self._problem.work[expert, node]
        if visiting:
            self._loads[node] += self._problem.swapping[expert, node]
        else:
            self._free_gb[node] -= self._problem.memory_gb[expert]


def _colleagues(problem: Problem) -> list[list[tuple[int, float]]]:
    """Of each expert, those that it is asked together with, and how often."""
    found: list[list[tuple[int, float]]] = [[] for _ in problem.experts]
    rated: Iterable[tuple[_Ints, float]] = zip(problem.pairs, problem.pair_rates, strict=True)
    for (first, second), rate in rated:
        found[first].append((int(second), rate))
        found[second].append((int(first), rate))
    return found
