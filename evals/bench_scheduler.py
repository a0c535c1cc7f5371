"""`python -m evals.bench scheduler`: what one decision of the scheduler takes, with many experts and many who wait.

    next(bench_scheduler(candidates=(1,))).mean_us          # of an event, with everything that follows from it

A closed loop on a simulated machine: for every answer another request comes, so that always as many wait. Timed is the core
alone: a request, an answer, a load or an end of one, each with the actions that it leads to, in processor time. Popularity is
Zipf's, utilities are random. Beside it, in the same run, the least that a queue could take: a push onto and a pop from a heap of as
many entries. Not here: the event loop around the core, and processes.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median
from time import thread_time
from typing import ParamSpec, TypeVar

from evals.simulation.machine import Machine, Timing
from orchestrator.scheduler.base import Lease, LeaseOutcome, LeaseRequest, NodeMemory, Place
from orchestrator.scheduler.core import Core
from orchestrator.scheduler.state import Action, Host, Waiter
from orchestrator.types import Endpoint
from routers.policy import Choice

P = ParamSpec("P")
R = TypeVar("R")

SWAP_S, BATCH, SERVICE_S = 6.0, 8, 2.0
SIZE_BYTES = 1_000_000_000
REPLICAS = 4


@dataclass(frozen=True, slots=True)
class Row:
    """candidates: of each request. ratio: of the mean to a push and a pop of a heap with as many entries."""

    experts: int
    resident: int
    waiting: int
    candidates: int
    events: int
    mean_us: float
    median_us: float
    p99_us: float
    ratio: float


def bench_scheduler(
    experts: int = 1000,
    resident: int = 100,
    waiting: int = 10_000,
    candidates: Sequence[int] = (1, 10),
    nodes: int = 1,
    events: int = 40_000,
    seed: int = 0,
) -> Iterator[Row]:
    """A row for each number of candidates. nodes: over which the resident ones are spread; experts may be on up to four of them."""
    for count in candidates:
        times = _Loop(experts, resident, waiting, count, nodes, random.Random(seed)).timed(events)
        yield Row(
            experts,
            resident,
            waiting,
            count,
            len(times),
            1e6 * mean(times),
            1e6 * median(times),
            1e6 * sorted(times)[len(times) * 99 // 100],
            mean(times) / _heap_s(waiting),
        )


class _TimedCore(Core):
    """Notes how long every event takes, with its actions."""

    times: list[float]

    def _timed(self, event: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        began = thread_time()
        try:
            return event(*args, **kwargs)
        finally:
            self.times.append(thread_time() - began)

    def acquire(self, request: LeaseRequest, now: float) -> Lease | Waiter:
        return self._timed(super().acquire, request, now)

    def release(self, lease: Lease, outcome: LeaseOutcome, now: float) -> None:
        self._timed(super().release, lease, outcome, now)

    def tick(self, now: float) -> None:
        self._timed(super().tick, now)

    def loaded(self, host: Host, generation: int, endpoint: Endpoint, memory_bytes: int, now: float) -> None:
        self._timed(super().loaded, host, generation, endpoint, memory_bytes, now)

    def stopped(self, host: Host, now: float) -> None:
        self._timed(super().stopped, host, now)

    def take_actions(self) -> list[Action]:
        began = thread_time()
        actions = super().take_actions()
        self.times[-1] += thread_time() - began
        return actions


class _Loop:
    """A machine whose answers are followed by requests. It is its own witness."""

    def __init__(
        self, experts: int, resident: int, waiting: int, candidates: int, nodes: int, draw: random.Random
    ) -> None:
        self._names = [f"expert-{number}" for number in range(experts)]
        self._weights = [1.0 / (number + 1) for number in range(experts)]
        self._candidates, self._draw, self._asked = candidates, draw, 0
        one = Place("", "", holds_weights=True, memory_bytes=SIZE_BYTES, concurrency=BATCH)
        names = [f"node-{number}" for number in range(nodes)] if nodes > 1 else [""]
        places = [
            replace(one, expert=name, host=name, node=node)
            for name in self._names
            for node in (draw.sample(names, min(REPLICAS, nodes)) if nodes > 1 else names)
        ]
        memory = {name: NodeMemory(max(resident // nodes, 1) * SIZE_BYTES) for name in names}
        here = memory.pop("", NodeMemory(0))
        _TimedCore.times = []
        self._core = _TimedCore(places, here.budget_bytes, 0.0, nodes=memory, max_waiting=2 * waiting)
        timing = Timing(lambda host: SWAP_S, lambda expert: SERVICE_S * draw.uniform(0.5, 1.5), 0.5)
        self._machine = Machine(self._core, timing, self)
        for _ in range(waiting + resident * BATCH):
            self._ask()

    def timed(self, events: int) -> list[float]:
        """Seconds of each event, once the first loads are over."""
        self._machine.run(4 * SWAP_S)
        self._core.times.clear()
        while len(self._core.times) < events:
            self._machine.run(self._machine.now + 1.0)
        return self._core.times

    def _ask(self) -> None:
        self._asked += 1
        names = dict.fromkeys(self._draw.choices(self._names, self._weights, k=self._candidates))
        choices = sorted((Choice(name, self._draw.random()) for name in names), key=lambda c: -c.utility)
        request = LeaseRequest(f"r{self._asked}", tuple(choices), mu=0.003, deadline=1e9)
        self._machine.arrive(self._machine.now + self._draw.random(), request)

    # What the machine tells

    def answered(self, request_id: str, now: float) -> None:
        self._ask()

    def arrived(self, request_id: str, now: float) -> None: ...

    def leased(self, request_id: str, expert: str, now: float) -> None: ...

    def refused(self, request_id: str, now: float) -> None: ...

    def load_began(self, host: str, now: float) -> None: ...

    def loaded(self, host: str, now: float) -> None: ...

    def unloaded(self, host: str, now: float) -> None: ...


def _heap_s(entries: int, rounds: int = 20_000) -> float:
    """Seconds of a push and a pop."""
    draw = random.Random(0)
    heap = [draw.random() for _ in range(entries)]
    heapq.heapify(heap)
    pushed = [draw.random() for _ in range(rounds)]
    began = thread_time()
    for value in pushed:
        heapq.heappush(heap, value)
        heapq.heappop(heap)
    return (thread_time() - began) / rounds
