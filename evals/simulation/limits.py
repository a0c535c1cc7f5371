"""How much a policy can take: the highest rate at which few enough requests take too long.

    max_rate(lambda rate, seed: replace(workload, rate=rate).trace(16, seed), setting, "switchyard", seeds=5)      # about 4

By bisection between a rate that it can take and one that it can't, on the same draws at every rate. A run is given up as soon as
its verdict is certain, so that policies which fall behind don't take forever. Not here: anything else about a run (`measures.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from evals.simulation.base import Setting, Trace
from evals.simulation.measures import PATIENCE_S
from evals.simulation.registry import make_rules
from evals.simulation.running import Patience, TooSlow, simulate

Requests = Callable[[float, int], Trace]
"""From a rate, per second, and a seed to the requests."""

PRECISION = 0.01
"""How far the rate that is found may be below the highest, as a part of it."""
LOWEST, HIGHEST = 1e-4, 1e4
"""Requests per second between which a limit is looked for."""


def max_rate(requests: Requests, setting: Setting, policy: str, seeds: int, start: float = 1.0) -> float | None:
    """The highest rate at which at most 1 request in 100, over all seeds, takes longer than `PATIENCE_S`.

    None when even the lowest is too high, or the highest not too high. start: where the search begins.
    """

    def bears(rate: float) -> bool:
        return keeps_up([requests(rate, seed) for seed in range(seeds)], setting, policy)

    if bears(start):
        good = start
        while bears(bad := 2 * good):
            good = bad
            if good > HIGHEST:
                return None
    else:
        bad = start
        while not bears(good := bad / 2):
            bad = good
            if bad < LOWEST:
                return None
    while bad - good > PRECISION * good:
        middle = (good + bad) / 2
        if bears(middle):
            good = middle
        else:
            bad = middle
    return good


def keeps_up(traces: list[Trace], setting: Setting, policy: str) -> bool:
    """Whether at most 1 request in 100 of all traces together takes longer than `PATIENCE_S`."""
    left = sum(len(trace) for trace in traces) // 100
    for seed, trace in enumerate(traces):
        try:
            run = simulate(trace, setting, make_rules(policy, setting, trace), Patience(PATIENCE_S, left), seed)
        except TooSlow:
            return False
        left -= int((~(run.latency_s <= PATIENCE_S)).sum())  # a refusal is no answer in time
    return left >= 0
