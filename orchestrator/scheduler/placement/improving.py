"""A placement made cheaper: further copies where they pay, and a few experts at a time placed again by the integer program.

    until = time.monotonic() + 5.0
    best = improved(problem, with_copies(problem, greedy(problem), until=until), until=until)

Large neighbourhood search (Shaw, Using constraint programming and local search methods to solve vehicle routing problems, 1998):
everything but the copies of a few experts is fixed, and what is left is small enough to be solved at once.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from orchestrator.scheduler.placement.base import Placement, Problem
from orchestrator.scheduler.placement.program import Copies, solve

NUM_FREED = 8
"""Experts that are placed again at once. With 20, most solutions did not come within a second."""
ROUND_S = 1.0
SEED = 0
LEAST_GAIN = 1e-9


def improved(problem: Problem, placement: Placement, *, until: float, bound: float = 0.0) -> Placement:
    """The best that is found until then (by `time.monotonic`), or until one costs no more than the bound."""
    random = np.random.default_rng(SEED)
    best, cost = placement, problem.cost(placement).total
    while cost > bound and (left_s := until - time.monotonic()) > 0:
        freed = np.zeros(problem.shape[0], dtype=np.bool_)
        freed[random.permutation(problem.shape[0])[:NUM_FREED]] = True
        copies = Copies.all_but(problem, best, freed)
        found = solve(problem, copies, time_limit_s=min(ROUND_S, left_s)).placement
        if found is not None and problem.cost(found).total < cost - LEAST_GAIN:
            best, cost = found, problem.cost(found).total
        if freed.all():
            break
    return best


def with_copies(problem: Problem, placement: Placement, *, until: float) -> Placement:
    """Its best shares, and, until then, further copies of what the busiest node does most of, as long as each makes it cheaper."""
    best = _shared(problem, placement, until)
    while time.monotonic() < until and (more := _another_copy(problem, best)) is not None:
        shared = _shared(problem, more, until)
        if problem.cost(shared).total >= problem.cost(best).total - LEAST_GAIN:
            break
        best = shared
    return best


def _shared(problem: Problem, placement: Placement, until: float) -> Placement:
    copies = Copies.all_but(problem, placement, np.zeros(problem.shape[0], dtype=np.bool_))
    found = solve(problem, copies, time_limit_s=until - time.monotonic()).placement
    return placement if found is None else found


def _another_copy(problem: Problem, placement: Placement) -> Placement | None:
    """Of the expert that the busiest node works most for, on the idlest node that has room; None when there is no such pair."""
    work = problem.work * placement.shares
    loads = problem.loads(placement)
    free = problem.room_gb - problem.used_gb(placement)
    room = (free >= problem.memory_gb[:, None]) & ~placement.resident & ~placement.visiting
    for expert in np.argsort(-work[:, loads.argmax()], kind="stable"):
        if work[expert, loads.argmax()] <= 0:
            return None
        if room[expert].any():
            resident = placement.resident.copy()
            resident[expert, np.where(room[expert], loads, np.inf).argmin()] = True
            return replace(placement, resident=resident)
    return None
