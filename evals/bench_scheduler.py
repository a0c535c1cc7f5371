"""`python -m evals.bench scheduler`: what one decision of the scheduler takes, with many experts and many who wait.

    next(bench_scheduler(candidates=(1,))).mean_us          # of an event, with everything that follows from it

A closed loop on a simulated machine: for every answer another request comes, so that always as many wait. Timed is the core
alone: a request, an answer, a load or an end of one, each with the actions that it leads to, in processor time. Popularity is
Zipf's, utilities are random. Beside it, in the same run, the least that a queue could take: a push onto and a pop from a heap of as
many entries. Each row is measured in a process of its own, whose memory it tells. Not here: the event loop around the core, and
connections to gateways (`bench_leases.py`).
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from statistics import mean, median
from time import thread_time
from typing import ParamSpec, TypeVar

import psutil

from evals.fleets import fleet_over
from evals.simulation.machine import Machine, Timing
from orchestrator.scheduler.actions import Action
from orchestrator.scheduler.base import Lease, LeaseOutcome, LeaseRequest
from orchestrator.scheduler.core import Core
from orchestrator.scheduler.state import Host, Waiter
from orchestrator.types import Endpoint
from routers.policy import Choice

P = ParamSpec("P")
R = TypeVar("R")

SWAP_S, BATCH, SERVICE_S = 6.0, 8, 2.0
MB = 1e6


@dataclass(frozen=True, slots=True)
class Row:
    """candidates: of each request. decisions_per_s: leases given, per second of the core's events.

    ratio: of an event's mean to a push and a pop of a heap with as many entries. fleet_mb: resident memory that the experts took,
    process_mb: of the whole process, with who waits, and the simulated machine.
    """

    experts: int
    nodes: int
    resident: int
    waiting: int
    candidates: int
    events: int
    mean_us: float
    median_us: float
    p99_us: float
    ratio: float
    decisions_per_s: float
    fleet_mb: float
    process_mb: float


def bench_scheduler(
    experts: Sequence[int] = (1000,),
    resident: int = 100,
    waiting: int = 10_000,
    candidates: Sequence[int] = (1, 10),
    nodes: int = 1,
    events: int = 40_000,
    seed: int = 0,
) -> Iterator[Row]:
    """A row for each number of experts and of candidates. nodes: over which the resident ones are spread."""
    for number, count in product(experts, candidates):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            yield process.submit(_measured, number, resident, waiting, count, nodes, events, seed).result()


def _measured(experts: int, resident: int, waiting: int, candidates: int, nodes: int, events: int, seed: int) -> Row:
    before = _process_mb()
    loop = _Loop(experts, resident, waiting, candidates, nodes, random.Random(seed))
    fleet_mb = _process_mb() - before
    times, decisions = loop.timed(events)
    return Row(
        experts,
        nodes,
        resident,
        waiting,
        candidates,
        len(times),
        1e6 * mean(times),
        1e6 * median(times),
        1e6 * sorted(times)[len(times) * 99 // 100],
        mean(times) / _heap_s(waiting),
        decisions / sum(times),
        fleet_mb,
        _process_mb(),
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
        self._candidates, self._draw, self._asked, self._leased = candidates, draw, 0, 0
        self._to_ask = waiting + resident * BATCH
        places, here, elsewhere = fleet_over(self._names, nodes, resident, BATCH, draw)
        _TimedCore.times = []
        self._core = _TimedCore(places, here.budget_bytes, 0.0, nodes=elsewhere, max_waiting=2 * waiting)
        timing = Timing(lambda host: SWAP_S, lambda expert: SERVICE_S * draw.uniform(0.5, 1.5), 0.5)
        self._machine = Machine(self._core, timing, self)

    def timed(self, events: int) -> tuple[list[float], int]:
        """Seconds of each event, once the first loads are over, and how many leases were given in them."""
        for _ in range(self._to_ask):
            self._ask()
        self._machine.run(4 * SWAP_S)
        self._core.times.clear()
        before = self._leased
        while len(self._core.times) < events:
            self._machine.run(self._machine.now + 1.0)
        return self._core.times, self._leased - before

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

    def leased(self, request_id: str, expert: str, now: float) -> None:
        self._leased += 1

    def refused(self, request_id: str, now: float) -> None: ...

    def load_began(self, host: str, now: float) -> None: ...

    def loaded(self, host: str, now: float) -> None: ...

    def unloaded(self, host: str, now: float) -> None: ...


def _process_mb() -> float:
    return float(psutil.Process().memory_info().rss / MB)


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
