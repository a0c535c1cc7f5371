"""How well a trace suits a memory: whether near requests want the same experts, and what another slot would buy.

    report = residency_report(trace, setting, policies=("switchyard",))
    report.segments[0].shares[1]          # of 10 requests in a row, the part that the best two experts for them serve
    [(row.slots, row.swaps_per_100) for row in report.memory if row.policy == "switchyard"]

The segment metrics are those of Liang et al., "Not All Models Suit Expert Offloading" (arXiv 2505.16056), with requests for tokens,
whole models for a layer's experts, and one active expert for each. They and `IN_ORDER` take requests in the order in which they
arrive; a scheduler may serve them in another, and so swap less than the best replacement in order can.

Not here: costs of waiting (`bound.py`), how requests come to be (`workloads.py`).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evals.simulation.base import SLOT_BYTES, Ints, Setting, Trace
from evals.simulation.measures import finite, measure
from evals.simulation.registry import make_rules
from evals.simulation.running import simulate

IN_ORDER = "in_order"
"""Stands for requests served one by one as they arrive, with the replacement of Belady, who knows what will come."""

MAX_SEGMENTS = 2000
MAX_BUDGETS = 16


@dataclass(frozen=True, slots=True)
class Segments:
    """Stretches of `length` requests in a row, which may overlap.

    performance: segment routing best performance (SRP), the F1 of predicting that every request of a stretch wants exactly the
    experts of a set, which is chosen for each stretch with foresight; 1 when nobody ever changes. set_size: how large those sets
    are on average. shares: (E,) segment cache best hit rate (SCH), the part of the requests that the best k experts for their
    stretch serve, for k of 1, 2 and so on.
    """

    length: int
    performance: float
    set_size: float
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """A policy with so much memory, in slots of `SLOT_BYTES`; one of `Setting.even`'s experts takes one.

    ready_on_arrival: the part of the requests that came when their expert was in memory, and not on its way out. The others
    needn't cost a load each: those that wait for the same expert share one. p99_s: of latency. Both are None for `IN_ORDER`, where
    nobody waits, and p99_s where too many were refused.
    """

    slots: float
    policy: str
    ready_on_arrival: float | None
    swaps_per_100: float
    p99_s: float | None


@dataclass(frozen=True, slots=True)
class Residency:
    """Of one trace. memory: by budget, then by policy."""

    segments: tuple[Segments, ...]
    memory: tuple[MemoryRow, ...]


def residency_report(
    trace: Trace,
    setting: Setting,
    *,
    lengths: Sequence[int] = (10, 100, 1000),
    policies: Sequence[str] = (),
    budgets_bytes: Sequence[int] | None = None,
) -> Residency:
    """lengths: of segments; those beyond the trace are left out. policies: of the registry, beside `IN_ORDER`. budgets_bytes: None
    is the setting's, and then a slot more each time until everything fits, but no more than 16.

    Raises ValueError for an empty trace, and what `simulate` and `measure` raise.
    """
    if not len(trace):
        raise ValueError("the trace has no requests")
    rows = []
    for budget_bytes in budgets_bytes or _budgets(setting):
        machine = replace(setting, budget_bytes=budget_bytes)
        rows.append(_in_order(trace, machine))
        rows.extend(_simulated(trace, machine, policy) for policy in policies)
    num_experts = len(setting.experts)
    segments = (segments_of(trace.expert, length, num_experts) for length in lengths if length <= len(trace))
    return Residency(tuple(segments), tuple(rows))


def segments_of(expert: Ints, length: int, num_experts: int) -> Segments:
    """expert: (n,) who is asked. Of very many stretches, 2,000 are looked at, evenly spread."""
    num_stretches = len(expert) - length + 1
    starts = np.unique(np.linspace(0, num_stretches - 1, min(num_stretches, MAX_SEGMENTS)).astype(np.int64))
    asked = expert[starts[:, None] + np.arange(length)]
    cells = asked + num_experts * np.arange(len(starts))[:, None]
    counts = np.bincount(cells.ravel(), minlength=len(starts) * num_experts).reshape(-1, num_experts)
    performance, set_size = _routing_performance(counts, length)
    shares = -np.sort(-counts, axis=1).mean(axis=0).cumsum() / length
    return Segments(length, performance, set_size, tuple(shares.tolist()))


def _routing_performance(counts: Ints, length: int) -> tuple[float, float]:
    """The best F1 over sets that hold whoever is asked at least so often, and the mean size of the sets.

    counts: (stretches, E) how often each expert is asked. With one threshold for all, no other sets are better.
    """
    num_stretches = len(counts)
    cells = np.bincount(counts.ravel(), minlength=length + 1)[1:]
    chosen = cells[::-1].cumsum()[::-1]
    matches = (cells * np.arange(1, length + 1))[::-1].cumsum()[::-1]
    f1 = 2.0 * matches / (length * (chosen + num_stretches))
    best = int(f1.argmax())
    return float(f1[best]), float(chosen[best] / num_stretches)


def loads_in_order(expert: Ints, size_bytes: Ints, budget_bytes: int) -> int:
    """Loads when each request is served before the next, and whoever is needed last makes room.

    expert: (n,), each of whose sizes is within the budget. The fewest there can be if the experts are of one size (Belady, "A
    study of replacement algorithms for a virtual-storage computer", 1966); with several sizes there may be fewer.
    """
    runs = expert[np.flatnonzero(np.diff(expert, prepend=-1))]
    resident: dict[int, int] = {}
    queue: list[tuple[int, int]] = []
    free_bytes, loads = budget_bytes, 0
    sizes: list[int] = size_bytes.tolist()
    for wanted, next_use in zip(runs.tolist(), _next_uses(runs).tolist(), strict=True):
        if wanted not in resident:
            loads += 1
            free_bytes -= sizes[wanted]
            while free_bytes < 0:
                use, last = heapq.heappop(queue)
                if resident.get(last) == -use:
                    del resident[last]
                    free_bytes += sizes[last]
        resident[wanted] = next_use
        heapq.heappush(queue, (-next_use, wanted))
    return loads


def _next_uses(expert: Ints) -> Ints:
    """(n,) where each request's expert is asked next; n and more, each once, for never."""
    n = len(expert)
    next_uses = n + np.arange(n)
    by_expert = np.argsort(expert, kind="stable")
    earlier, later = by_expert[:-1], by_expert[1:]
    again = expert[earlier] == expert[later]
    next_uses[earlier[again]] = later[again]
    return next_uses


def _in_order(trace: Trace, setting: Setting) -> MemoryRow:
    loads = loads_in_order(trace.expert, setting.size_bytes, setting.budget_bytes) / len(trace)
    return MemoryRow(setting.budget_bytes / SLOT_BYTES, IN_ORDER, None, 100.0 * loads, None)


def _simulated(trace: Trace, setting: Setting, policy: str) -> MemoryRow:
    run = simulate(trace, setting, make_rules(policy, setting, trace))
    row = measure(policy, [run])
    ready = float(1.0 - run.cold.mean())
    return MemoryRow(setting.budget_bytes / SLOT_BYTES, policy, ready, row.swaps_per_100, finite(row.latency_s.p99))


def _budgets(setting: Setting) -> list[int]:
    """The setting's, and a slot more each time, until all experts fit."""
    enough = max(int(setting.size_bytes.sum()), setting.budget_bytes)
    return [*range(setting.budget_bytes, enough, SLOT_BYTES), enough][:MAX_BUDGETS]
