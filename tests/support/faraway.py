"""A scheduler elsewhere, gateways of it, and a network between them that can fail.

async with faraway(remote("a", concurrency=1)) as far:
    gateway = await far.gateway("g1")                   # a RemoteScheduler, connected, through far.relay
    far.relay.cut()
    await far.restart()                                 # a new process on another port, which knows nothing
    far.restored                                        # ids of the leases it was told of
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from orchestrator.scheduler.base import ExpertStatus, Lease, Place
from orchestrator.scheduler.driver import LocalScheduler
from orchestrator.scheduler.remote.client import RemoteScheduler
from orchestrator.scheduler.remote.connection import Address
from orchestrator.scheduler.remote.server import SchedulerServer
from tests.support.engine import FakeEngine
from tests.support.relay import Relay, relaying
from tests.support.schedulers import TOKEN


class Faraway:
    """options: of the server."""

    def __init__(self, places: Sequence[Place], **options: Any) -> None:
        self.driver: LocalScheduler
        self.server: SchedulerServer
        self.address: Address
        self.relay: Relay
        self.restored: list[str] = []
        self.reloads = 0
        self.reloaded = 0
        self.reload_when: asyncio.Event | None = None
        self.reload_error: Exception | None = None
        self._places = places
        self._options = options
        self._gateways: list[RemoteScheduler] = []

    async def begin(self) -> None:
        self.driver = LocalScheduler(self._places, {"": FakeEngine()}, budget_bytes=100)
        self.server = SchedulerServer(self.driver, TOKEN, reload=self._reload, restore=self._restore, **self._options)
        self.address = await self.server.start("127.0.0.1")

    async def end(self) -> None:
        await self.server.close()
        await self.driver.close()

    async def restart(self) -> None:
        await self.end()
        await self.begin()

    async def gateway(self, client_id: str = "gateway", *, token: str = TOKEN, **options: Any) -> RemoteScheduler:
        """Connected, unless it isn't let in."""

        async def locate() -> Address:
            return self.relay.address

        gateway = RemoteScheduler(locate, token, client_id, **options)
        self._gateways.append(gateway)
        if token == TOKEN:
            await gateway.connected(5)
        return gateway

    async def close(self) -> None:
        for gateway in self._gateways:
            await gateway.close()
        await self.end()

    def status(self, name: str) -> ExpertStatus:
        return next(each for each in self.driver.status() if each.expert == name)

    async def _reload(self) -> None:
        self.reloads += 1
        if self.reload_error is not None:
            raise self.reload_error
        if self.reload_when is not None:
            await self.reload_when.wait()
        self.reloaded += 1

    def _restore(self, leases: Sequence[Lease]) -> None:
        self.restored += [lease.id for lease in leases]


@asynccontextmanager
async def faraway(*places: Place, **options: Any) -> AsyncIterator[Faraway]:
    far = Faraway(places, **{"snapshot_s": 0.01, **options})
    await far.begin()
    async with AsyncExitStack() as stack:
        far.relay = await stack.enter_async_context(relaying(lambda: far.address))
        stack.push_async_callback(far.close)
        yield far
