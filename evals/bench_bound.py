"""How far every policy stays from what no scheduler can beat: costs of waiting and swapping beside a proved lower bound.

    python -m evals.bench bound --experts 6 --seeds 3

An instance has the simulator's usual machine (two slots, swaps of 6 s, batches of 8 that take 2 s) and 200 requests at 3/s with
Zipf popularity, in whole seconds, so that the bound is exact where the solver ends in time. The bound knows all arrivals in
advance, as no policy but `belady` does. Not here: what cost and bound are (`simulation/bound.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evals.simulation.base import Setting, Trace
from evals.simulation.bound import cost_s, lower_bound
from evals.simulation.registry import POLICIES, make_rules
from evals.simulation.running import simulate
from evals.simulation.workloads import Workload


@dataclass(frozen=True, slots=True)
class Row:
    """gap: what the policy cost above the bound, as a part of the bound. exact: the bound is what the best schedule costs."""

    experts: int
    seed: int
    policy: str
    waited_s: float
    loads: int
    cost_s: float
    bound_s: float
    exact: bool
    gap: float


def bench_bound(*, experts: Sequence[int], requests: int, seeds: int, time_limit_s: float) -> Iterator[Row]:
    """A row for every policy on every instance."""
    for num_experts in experts:
        setting = Setting.even(experts=num_experts)
        for seed in range(seeds):
            trace = _in_whole_seconds(Workload(requests=requests).trace(num_experts, seed))
            yield from _rows(trace, setting, seed, time_limit_s)


def _in_whole_seconds(trace: Trace) -> Trace:
    return replace(trace, at_s=np.floor(trace.at_s))


def _rows(trace: Trace, setting: Setting, seed: int, time_limit_s: float) -> Iterator[Row]:
    bound = lower_bound(trace, setting, time_limit_s=time_limit_s)
    for policy in POLICIES:
        run = simulate(trace, setting, make_rules(policy, setting, trace))
        cost = cost_s(run, setting)
        yield Row(
            experts=len(setting.experts),
            seed=seed,
            policy=policy,
            waited_s=cost_s(run, setting, swap_weight=0.0),
            loads=len(run.load_expert),
            cost_s=cost,
            bound_s=bound.cost_s,
            exact=bound.exact,
            gap=cost / bound.cost_s - 1.0,
        )
