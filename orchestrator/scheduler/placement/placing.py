"""Which experts live on which node: placed once, and placed again when traffic has shifted enough to pay for the moves.

    placed = place(problem)
    placed.placement, placed.cost.total, placed.gap          # the gap to what is proved to be the least possible

    planned = replan(problem, min_gain=0.05)                 # problem.current: where experts are now
    planned.moves                                            # () when staying is about as good

Nothing is loaded here, and the clock is only read to end in time. Not here: what a placement costs (`base.py`), how one is found
(`program.py`, `greedy.py`, `improving.py`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.scheduler.placement.base import Cost, Placement, Problem
from orchestrator.scheduler.placement.greedy import greedy
from orchestrator.scheduler.placement.improving import improved, with_copies
from orchestrator.scheduler.placement.program import Copies, Solution, relaxed_bound, solve

MAX_CELLS = 200
"""Experts times nodes, up to which the whole program is worth a try."""
PROVED = 1e-4
"""The solver's own tolerance for a gap."""


@dataclass(frozen=True, slots=True)
class Placed:
    """bound: no placement costs less."""

    placement: Placement
    cost: Cost
    bound: float

    @property
    def gap(self) -> float:
        """0..1: how much cheaper a placement may still be, as a share of the cost; 0 when this one is proved to be the best."""
        total = self.cost.total
        return max(total - self.bound, 0.0) / total if total > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Move:
    """Weights to be loaded onto a node; what it displaces is unloaded at no cost."""

    expert: str
    node: str
    memory_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """placed: what to do. staying: what moving nothing would cost; None when that is impossible, or wasn't known in time.

    moves: () for staying.
    """

    placed: Placed
    staying: Cost | None
    moves: tuple[Move, ...]


def place(problem: Problem, *, time_limit_s: float = 10.0, start: Placement | None = None) -> Placed:
    """The best placement found in time, and never one that costs more than `start`.

    A small problem is half of the time the solver's as a whole. Otherwise, and from what it has found by then, parts of a greedy
    placement are solved again until the time is over. That greedy one is always made: 0.3 s for 1,000 experts on 8 nodes.
    """
    until = time.monotonic() + time_limit_s
    found = _first(problem, time_limit_s / 2)
    candidates = [candidate for candidate in (found.placement, start) if candidate is not None]
    if not candidates or _cheapest(problem, candidates, found.bound).gap > PROVED:
        copied = with_copies(problem, greedy(problem), until=until)
        best = _cheapest(problem, [*candidates, copied], found.bound).placement
        candidates = [improved(problem, best, bound=found.bound * (1 + PROVED), until=until)]
    return _cheapest(problem, candidates, found.bound)


def replan(problem: Problem, *, min_gain: float = 0.05, time_limit_s: float = 10.0) -> Plan:
    """A new placement if it costs less than staying by more than `min_gain` (a share of staying's cost), its moves included.

    time_limit_s: for all of it, of which what staying costs may take half.
    """
    until = time.monotonic() + time_limit_s
    stay = solve(problem, Copies.unmoved(problem), time_limit_s=time_limit_s / 2).placement
    placed = place(problem, time_limit_s=until - time.monotonic(), start=stay)
    staying = None if stay is None else problem.cost(stay)
    if stay is None or staying is None or placed.cost.total < (1.0 - min_gain) * staying.total:
        return Plan(placed, staying, moves(problem, placed.placement))
    return Plan(Placed(stay, staying, placed.bound), staying, ())


def moves(problem: Problem, placement: Placement) -> tuple[Move, ...]:
    """The loads that lead from the current placement to this one."""
    return tuple(
        Move(expert.expert, problem.nodes[node].name, expert.memory_bytes, float(problem.load_s[i, node]))
        for i, expert in enumerate(problem.experts)
        for node in np.flatnonzero(placement.resident[i] & ~problem.is_current[i])
    )


def _first(problem: Problem, time_limit_s: float) -> Solution:
    if problem.shape[0] * problem.shape[1] <= MAX_CELLS:
        return solve(problem, time_limit_s=time_limit_s)
    return Solution(None, relaxed_bound(problem, time_limit_s=time_limit_s))


def _cheapest(problem: Problem, candidates: Sequence[Placement], bound: float) -> Placed:
    costs = [problem.cost(candidate) for candidate in candidates]
    best = min(range(len(costs)), key=lambda i: costs[i].total)
    return Placed(candidates[best], costs[best], bound)
