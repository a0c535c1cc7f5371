"""Who takes part in a simulation, by where its requests come from: made up, recorded, or real queries whose outcomes are known.

    entrants = synthetic(["switchyard", "fifo"], Workload(rate=3.0), num_experts=16)
    rows = compare(entrants, setting, rate=3.0, seeds=5)

Not here: the comparison (`comparing.py`), the requests (`workloads.py`, `traces.py`, `replay.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evals.simulation.base import Floats, Run, Trace
from evals.simulation.comparing import Entrant
from evals.simulation.registry import OURS
from evals.simulation.replay import ROUTE_THEN_SCHEDULE, Replay, Replayed, replay
from evals.simulation.workloads import Workload


def synthetic(policies: Sequence[str], workload: Workload, num_experts: int) -> list[Entrant]:
    """The workload, at whatever rate is asked for."""

    def requests(rate: float, seed: int) -> Trace:
        return replace(workload, rate=rate).trace(num_experts, seed)

    return [Entrant(policy, policy, requests) for policy in policies]


def recorded(policies: Sequence[str], trace: Trace) -> list[Entrant]:
    """The trace, whatever rate or seed is asked for."""
    return [Entrant(policy, policy, lambda rate, seed: trace) for policy in policies]


def replayed(policies: Sequence[str], found: Sequence[Replay], workload: Workload, mu: float) -> list[Entrant]:
    """Real queries at the workload's times. Ours chooses the expert, and is followed by the same router and the same scheduler.

    The others schedule what that router chose. mu: reward given up per second of wait.
    """
    num_experts = len(found[0].experts)

    def asked(rate: float, seed: int) -> Replayed:
        return replay(found, replace(workload, rate=rate).trace(num_experts, seed), seed, mu)

    def joint(rate: float, seed: int) -> Trace:
        return asked(rate, seed).joint

    def apart(rate: float, seed: int) -> Trace:
        return asked(rate, seed).apart

    def earned(seed: int, run: Run) -> Floats:
        return asked(workload.rate, seed).earned(run)

    entrants = []
    for policy in policies:
        if policy == OURS:
            entrants.append(Entrant(OURS, OURS, joint, earned))
            entrants.append(Entrant(ROUTE_THEN_SCHEDULE, OURS, apart, earned))
        else:
            entrants.append(Entrant(policy, policy, apart, earned))
    return entrants
