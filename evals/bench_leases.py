"""`python -m evals.bench scheduler --remote`: how many leases a second one scheduler gives to gateways, over TCP.

    for row in bench_leases(gateways=(1, 4, 16), experts=(1000,), nodes=200):
        row.leases_per_s, row.scheduler_us

A scheduler in a process of its own, with every expert in memory somewhere and servers that are there at once, so that nobody waits
for a load; in this process so many gateways' connections, which share the requests that are under way and give each lease back
as soon as they have it. Popularity is Zipf's. What it is told again and again of the fleet's state is part of it. The decisions
alone, while many wait: `bench_scheduler.py`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from multiprocessing.connection import Connection

import uvloop

from evals.fleets import REPLICAS, fleet_over
from orchestrator.engines.base import Launchable
from orchestrator.experts.base import Resources, ServerCommand
from orchestrator.scheduler.base import Lease, LeaseOutcome, LeaseRequest, Scheduler
from orchestrator.scheduler.driver import LocalScheduler
from orchestrator.scheduler.remote.client import RemoteScheduler
from orchestrator.scheduler.remote.connection import Address
from orchestrator.scheduler.remote.server import SchedulerServer
from orchestrator.scheduler.remote.wire import Snapshot, encode
from orchestrator.types import Endpoint
from routers.policy import Choice

TOKEN = "benchmark"
BATCH = 64
WARM_UP_S = 1.0
CONNECT_S = 60.0
ANSWERED = LeaseOutcome(ok=True, duration_s=0.1)


@dataclass(frozen=True, slots=True)
class Row:
    """scheduler_us, gateway_us: processor time of a lease on either side, with all else that is done for it.

    most_per_s: leases that the scheduler would give with a core for itself, a million through `scheduler_us`. snapshot_mb,
    snapshot_ms: how much gateways are told of the whole fleet at a time, and what it takes to put that together.
    """

    gateways: int
    in_flight: int
    experts: int
    nodes: int
    candidates: int
    leases_per_s: float
    p50_ms: float
    p99_ms: float
    scheduler_us: float
    gateway_us: float
    most_per_s: float
    snapshot_mb: float
    snapshot_ms: float


def bench_leases(
    gateways: Sequence[int] = (1, 4, 16),
    candidates: Sequence[int] = (1, 10),
    experts: Sequence[int] = (1000,),
    nodes: int = 200,
    seconds: float = 5.0,
    in_flight: int = 64,
    seed: int = 0,
) -> Iterator[Row]:
    """A row for each number of experts, of candidates and of gateways. in_flight: requests of all gateways at a time."""
    for all_, count in product(experts, candidates):
        with _scheduler(all_, nodes, seed) as process:
            for number in gateways:
                load = _Load(process, all_, nodes, count, in_flight, random.Random(seed))
                yield uvloop.run(load.measured(number, seconds))


@dataclass(frozen=True, slots=True)
class _Scheduler:
    """Another process."""

    address: Address
    pipe: Connection
    snapshot_mb: float
    snapshot_ms: float

    def cpu_s(self) -> float:
        self.pipe.send(None)
        used: float = self.pipe.recv()
        return used


@contextmanager
def _scheduler(experts: int, nodes: int, seed: int) -> Iterator[_Scheduler]:
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(there, experts, nodes, seed), daemon=True)
    process.start()
    try:
        address, snapshot_mb, snapshot_ms = here.recv()
        yield _Scheduler(Address(*address), here, snapshot_mb, snapshot_ms)
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection, experts: int, nodes: int, seed: int) -> None:
    uvloop.run(_serving(pipe, experts, nodes, seed))


async def _serving(pipe: Connection, experts: int, nodes: int, seed: int) -> None:
    """Until this process is ended; tells its processor time whenever it is asked."""
    resident = REPLICAS * experts
    places, here, memory = fleet_over(_names(experts), nodes, resident, BATCH, random.Random(seed), _Nothing())
    engines = {name: _ReadyEngine() for name in ("", *memory)}
    scheduler = LocalScheduler(places, engines, budget_bytes=here.budget_bytes, nodes=memory)
    await asyncio.gather(*map(scheduler.warm, _names(experts)))
    server = SchedulerServer(scheduler, TOKEN, reload=_never, restore=_nothing)
    pipe.send((await server.start("127.0.0.1"), *_snapshot(scheduler, _names(experts))))
    while True:
        await asyncio.to_thread(pipe.recv)
        pipe.send(time.process_time())


class _Load:
    """Workers that ask one gateway each."""

    def __init__(
        self,
        scheduler: _Scheduler,
        experts: int,
        nodes: int,
        candidates: int,
        in_flight: int,
        draw: random.Random,
    ) -> None:
        self._scheduler = scheduler
        self._names = _names(experts)
        self._nodes = nodes
        self._candidates = candidates
        self._in_flight = in_flight
        self._draw = draw
        self._taken_s: list[float] = []
        self._asked = 0

    async def measured(self, gateways: int, seconds: float) -> Row:
        async with AsyncExitStack() as stack:
            schedulers = [await self._connected(f"gateway-{number}", stack) for number in range(gateways)]
            await self._run(schedulers, WARM_UP_S)
            before, before_here, began = self._scheduler.cpu_s(), time.process_time(), time.perf_counter()
            await self._run(schedulers, seconds)
            elapsed_s, here_s = time.perf_counter() - began, time.process_time() - before_here
            leases, taken_s = len(self._taken_s), sorted(self._taken_s)
            there_us = 1e6 * (self._scheduler.cpu_s() - before) / leases
            return Row(
                gateways,
                self._in_flight,
                len(self._names),
                self._nodes,
                self._candidates,
                leases / elapsed_s,
                1e3 * taken_s[leases // 2],
                1e3 * taken_s[leases * 99 // 100],
                there_us,
                1e6 * here_s / leases,
                1e6 / there_us,
                self._scheduler.snapshot_mb,
                self._scheduler.snapshot_ms,
            )

    async def _connected(self, name: str, stack: AsyncExitStack) -> RemoteScheduler:
        async def locate() -> Address:
            return self._scheduler.address

        scheduler = RemoteScheduler(locate, TOKEN, name)
        stack.push_async_callback(scheduler.close)
        await scheduler.connected(CONNECT_S)
        return scheduler

    async def _run(self, schedulers: Sequence[RemoteScheduler], seconds: float) -> None:
        self._taken_s.clear()
        until = time.perf_counter() + seconds
        workers = (self._ask(schedulers[number % len(schedulers)], until) for number in range(self._in_flight))
        await asyncio.gather(*workers)

    async def _ask(self, scheduler: RemoteScheduler, until: float) -> None:
        for request in self._requests():
            asked = time.perf_counter()
            if asked >= until:
                return
            lease = await scheduler.acquire(request)
            self._taken_s.append(time.perf_counter() - asked)
            scheduler.release(lease, ANSWERED)

    def _requests(self) -> Iterator[LeaseRequest]:
        weights = [1.0 / (number + 1) for number in range(len(self._names))]
        drawn: list[str] = []
        while True:
            if len(drawn) < self._candidates:
                drawn = self._draw.choices(self._names, weights, k=1000 * self._candidates)
            names = dict.fromkeys(drawn.pop() for _ in range(self._candidates))
            choices = tuple(Choice(name, 1.0 - 0.01 * rank) for rank, name in enumerate(names))
            self._asked += 1
            yield LeaseRequest(f"{self._asked:032x}", choices, mu=0.01, deadline=time.monotonic() + 300.0)


def _snapshot(scheduler: Scheduler, names: Sequence[str]) -> tuple[float, float]:
    """Its size in MB, and the processor time in ms to make one."""
    began = time.process_time()
    size = len(encode(Snapshot(scheduler.status(), scheduler.memory(), scheduler.weigh(names))))
    return size / 1e6, 1e3 * (time.process_time() - began)


class _Nothing:
    """A `Launchable` for servers that are never started."""

    resources = Resources()

    def __call__(self) -> ServerCommand:
        return ServerCommand(())


class _ReadyServer:
    """A `RunningServer` without a process."""

    def __init__(self) -> None:
        self.endpoint = Endpoint("http://127.0.0.1:1/v1", token="t")
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def memory_bytes(self) -> int:
        return 0

    async def sleep(self) -> None: ...

    async def wake(self) -> None: ...

    async def stop(self) -> None:
        if not self.exited.done():
            self.exited.set_result(0)


class _ReadyEngine:
    """An `Engine` whose servers are ready at once."""

    async def launch(self, name: str, launch: Launchable) -> _ReadyServer:
        return _ReadyServer()

    def read_ahead(self, launch: Launchable) -> None: ...

    def memory_available_bytes(self) -> int:
        return 1 << 50

    async def close(self) -> None: ...


def _names(experts: int) -> list[str]:
    return [f"expert-{number}" for number in range(experts)]


async def _never() -> None: ...


def _nothing(leases: Sequence[Lease]) -> None: ...
