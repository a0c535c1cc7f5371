"""`python -m evals.bench control`: what Ray must do all the time for Switchyard on it: calls to actors, and the list of nodes.

    next(bench_control(nodes=(1,))).reports_per_s

Every gateway calls the scheduler's actor a few times a second (no request does), and the scheduler asks every node's actor for its
memory, and the head for the nodes. Timed is that with as many calls under way as one process can keep, and one at a time.
Not here: requests, which cross no actor.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import ray

from evals.emulation import nodes_of, sleepers
from orchestrator.engines.ray.cluster import living_nodes
from orchestrator.engines.ray.control import Settings, control_actor

NODE_GB = 1.0
IN_FLIGHT = 64
MEASURED = b"x" * 20_000
"""About what a gateway has measured, for Prometheus."""


@dataclass(frozen=True, slots=True)
class Row:
    """reports_per_s: gateways' calls that the scheduler's actor answers. report_ms, nodes_ms: one call, and the list, alone."""

    nodes: int
    reports_per_s: float
    report_ms: float
    nodes_ms: float


def bench_control(nodes: Sequence[int] = (1, 4), seconds: float = 3.0) -> Iterator[Row]:
    """A row for each number of emulated nodes."""
    for count in nodes:
        with tempfile.TemporaryDirectory() as folder, nodes_of([NODE_GB] * count):
            actor = control_actor(Settings(sleepers(Path(folder), 1, 1), "0.0.0.0"))
            try:
                yield asyncio.run(_measured(actor, count, seconds))
            finally:
                ray.kill(actor)


async def _measured(actor: ray.actor.ActorHandle, nodes: int, seconds: float) -> Row:
    async def report() -> float:
        began = time.perf_counter()
        await actor.report.remote("gateway", is_drained=False, measured=MEASURED)
        return time.perf_counter() - began

    async def keep_on(until: float) -> int:
        answered = 0
        while time.perf_counter() < until:
            await report()
            answered += 1
        return answered

    await report()
    alone_s = [await report() for _ in range(200)]
    until = time.perf_counter() + seconds
    answered = sum(await asyncio.gather(*(keep_on(until) for _ in range(IN_FLIGHT))))
    nodes_s = [_timed_nodes() for _ in range(50)]
    return Row(nodes, answered / seconds, 1e3 * median(alone_s), 1e3 * median(nodes_s))


def _timed_nodes() -> float:
    began = time.perf_counter()
    living_nodes()
    return time.perf_counter() - began
