"""`python -m evals.bench scale`: how the rate of answers grows with the nodes, on nodes that are emulated on this machine.

    for row in bench_scale(nodes=(1, 2, 4)):
        row.shape, row.nodes, row.rate, row.efficiency

Two shapes of the same load: `one`, an expert that everybody asks, so that it must have a replica on every node; and `many`, as many
experts as fit into the memory of all nodes, asked alike. An expert takes `CONCURRENCY` requests at a time, each for `SERVICE_S`,
which it sleeps: so a node's capacity is known, and a few cores do for several nodes. First so many requests are kept under way
that all nodes are busy (closed loop), which gives the rate; then requests come at a part of that (open loop), which gives the wait.
Nothing is loaded when it begins: replicas spread by the scheduler's own decision.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec
import uvloop

from evals.emulation import CONCURRENCY, SERVICE_S, RunningService, nodes_of, service_on, sleepers
from evals.load import LoadResult, Target, closed_loop, open_loop, post

Shape = Literal["one", "many"]
SHAPES: tuple[Shape, ...] = ("one", "many")
NODE_GB = 4.0
ON_A_NODE = 2
BACKLOG_S = 4.0
"""How long those wait whose requests are kept under way: longer than a load, or nobody would need another replica."""
WARM_UP_S = 8.0
"""In which replicas are loaded, and the first queues even out."""
OPEN_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Row:
    """rate: of answers while all nodes are busy; capacity: what it could be at most.

    efficiency: the rate for each node, as a part of that in the shape's first row. open_rate: of answers with `OPEN_SHARE` of the
    capacity asked for; wait_p50_ms, wait_p99_ms: what they took then beyond the expert's own time. loads: of servers on each node.
    errors: answers that were none.
    """

    shape: str
    nodes: int
    experts: int
    rate: float
    capacity: float
    efficiency: float
    open_rate: float
    wait_p50_ms: float
    wait_p99_ms: float
    loads: str
    errors: int


def bench_scale(
    nodes: Sequence[int] = (1, 2, 4), seconds: float = 8.0, rounds: int = 1, shapes: Sequence[Shape] = SHAPES
) -> Iterator[Row]:
    """A row for each number of nodes and shape, in every round. seconds: of each measurement."""
    for _ in range(rounds):
        first: dict[Shape, Row] = {}
        for count in nodes:
            with nodes_of([NODE_GB] * count):
                for shape in shapes:
                    row = _measured(shape, count, seconds)
                    alone = first.setdefault(shape, row)
                    yield replace(row, efficiency=(row.rate / row.nodes) / (alone.rate / alone.nodes))


def _measured(shape: Shape, nodes: int, seconds: float) -> Row:
    experts = 1 if shape == "one" else nodes * ON_A_NODE
    busy = nodes if shape == "one" else experts
    capacity = busy * CONCURRENCY / SERVICE_S
    under_way = int(capacity * (SERVICE_S + BACKLOG_S))
    with tempfile.TemporaryDirectory() as folder, service_on(sleepers(Path(folder), experts, ON_A_NODE)) as service:
        target = _target(service, experts)
        closed = uvloop.run(closed_loop(target, connections=under_way, duration_s=WARM_UP_S + seconds))
        opened = uvloop.run(open_loop(target, rate=OPEN_SHARE * capacity, duration_s=seconds))
        loads = " ".join(str(number) for _, number in sorted(service.loads().items()))
    return Row(
        shape,
        nodes,
        experts,
        _rate(closed, seconds),
        capacity,
        1.0,
        opened.throughput,
        opened.percentile_ms(50) - 1e3 * SERVICE_S,
        opened.percentile_ms(99) - 1e3 * SERVICE_S,
        loads,
        sum(closed.errors.values()) + sum(opened.errors.values()),
    )


def _rate(closed: LoadResult, seconds: float) -> float:
    """Of the answers after the warm-up, and before those who ask become fewer."""
    began = min(closed.answered_at) - SERVICE_S + WARM_UP_S
    return sum(began <= at < began + seconds for at in closed.answered_at) / seconds


def _target(service: RunningService, experts: int) -> Target:
    """Every expert in turn."""
    bodies = (
        {"model": f"expert-{number}", "messages": [{"role": "user", "content": "Hello"}]} for number in range(experts)
    )
    requests = [post("/v1/chat/completions", msgspec.json.encode(body)) for body in bodies]
    return Target("127.0.0.1", service.port, requests)
