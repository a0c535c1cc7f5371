"""Schedulers of each kind over an engine without processes, so that one test holds for all of them.

async with scheduling("remote", local("a", 60)) as (scheduler, engine):     # over a connection on loopback
    waiting = asyncio.create_task(scheduler.acquire(ask("a")))
    (await engine.launched("a")).succeed()
    await until(lambda: state(scheduler, "a") == "ready")                   # what is pushed comes a little later
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from orchestrator.scheduler.base import ExpertStatus, Lease, Place, Scheduler
from orchestrator.scheduler.driver import LocalScheduler
from orchestrator.scheduler.remote.client import RemoteScheduler
from orchestrator.scheduler.remote.connection import Address
from orchestrator.scheduler.remote.server import SchedulerServer
from tests.support.engine import FakeEngine

SchedulerKind = Literal["local", "remote"]
KINDS: tuple[SchedulerKind, ...] = ("local", "remote")
TOKEN = "a shared secret"


class Edited(RemoteScheduler):
    """The places that `reconfigure` is given are what the scheduler finds in its file when it reads it again."""

    file: tuple[Sequence[Place], int, int | None] = ((), 0, None)

    async def reconfigure(
        self, places: Sequence[Place], budget_bytes: int, asleep_budget_bytes: int | None = None
    ) -> None:
        self.file = (places, budget_bytes, asleep_budget_bytes)
        await super().reconfigure(places, budget_bytes, asleep_budget_bytes)


@asynccontextmanager
async def scheduling(
    kind: SchedulerKind,
    *places: Place,
    engine: FakeEngine | None = None,
    budget: int = 100,
    asleep_budget: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[tuple[Scheduler, FakeEngine]]:
    """A scheduler and its engine, closed at the end; servers that are still held are let go. clock: the local driver's."""
    engine = engine or FakeEngine()
    driver = LocalScheduler(places, {"": engine}, budget_bytes=budget, asleep_budget_bytes=asleep_budget, clock=clock)
    try:
        if kind == "local":
            yield driver, engine
        else:
            async with remotely(driver, clock=clock) as remote:
                yield remote, engine
    finally:
        for launch in engine.launches:
            if launch.result.done() and not launch.result.cancelled() and launch.result.exception() is None:
                launch.result.result().finish()
        await driver.close()


@asynccontextmanager
async def remotely(driver: LocalScheduler, *, clock: Callable[[], float]) -> AsyncIterator[RemoteScheduler]:
    """The same scheduler, as a gateway on another machine has it."""

    async def locate() -> Address:
        return address

    async def reload() -> None:
        await driver.reconfigure(*remote.file)

    server = SchedulerServer(driver, TOKEN, reload=reload, restore=nothing_to_restore, snapshot_s=0.01, clock=clock)
    remote = Edited(locate, TOKEN, "gateway")
    address = await server.start("127.0.0.1")
    try:
        await remote.connected(5)
        yield remote
    finally:
        await remote.close()
        await server.close()


def nothing_to_restore(leases: Sequence[Lease]) -> None:
    raise AssertionError(f"nobody should hold {leases}")


def status(scheduler: Scheduler, name: str) -> ExpertStatus:
    return next(each for each in scheduler.status() if each.expert == name)


def state(scheduler: Scheduler, name: str) -> str:
    return status(scheduler, name).state


async def settled(kind: SchedulerKind, condition: Callable[[], bool]) -> None:
    """It is so: on this machine at once, elsewhere as soon as it has been pushed."""
    if kind == "local":
        assert condition()
    else:
        await until(condition)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is pushed from elsewhere gives no event
            await asyncio.sleep(0.005)
