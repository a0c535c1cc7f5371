"""Is one of two experts better everywhere? What a ranking by few groups assumes, and a fleet worth routing over breaks.

    find_crossings(rewards, problem, delta=0.05)      # (Crossing(first=0, second=2, better_in=3, worse_in=1),)

A crossing is shown when an expert is proven better than another in one group and worse in another one. That no expert crosses
another can't be shown, only that none was seen to. All crossings reported, however often one looks, are right with a chance of
1 - delta: for all queries like these, because of a few queries alone hardly any order holds in every group.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from evals.active.base import Crossing, Problem
from evals.active.evidence import Array, Evidence
from routers.base import FloatArray


def find_crossings(rewards: FloatArray, problem: Problem, delta: float) -> tuple[Crossing, ...]:
    """The clearest crossing of each pair that has one. rewards: `(n_queries, n_experts)`, NaN where nothing was paid for."""
    if problem.num_groups < 2 or problem.num_experts < 2:
        return ()
    beats = np.stack([_evidence(rewards, problem, group) for group in range(problem.num_groups)])
    num_pairs = problem.num_experts * (problem.num_experts - 1) / 2
    bar = np.log(num_pairs * problem.num_groups / delta)
    best = beats.max(axis=0)
    return tuple(
        Crossing(i, j, int(beats[:, i, j].argmax()), int(beats[:, j, i].argmax()))
        for i, j in combinations(range(problem.num_experts), 2)
        if min(best[i, j], best[j, i]) >= bar
    )


def _evidence(rewards: FloatArray, problem: Problem, group: int) -> Array:
    """`(n_experts, n_experts)`: that row's expert is better than column's in a group."""
    queries = problem.members(group)
    evidence = Evidence(problem.num_experts, population=None)
    evidence.add(rewards[queries])
    return evidence.log_beats
