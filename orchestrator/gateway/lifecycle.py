"""Whether the gateway takes requests, and which ones are under way.

    lifecycle = Lifecycle()
    task = lifecycle.enter()                      # raises NoCapacity while draining
    lifecycle.leave(task)
    await lifecycle.drain(limit_s=30)             # refuses new ones, waits, then interrupts what is left

Not here: sockets and signals (`server.py`).
"""

from __future__ import annotations

import asyncio
from typing import Any

from orchestrator.errors import NoCapacity

RETRY_AFTER_S = 5.0


class Lifecycle:
    """One per gateway. `draining`: new requests are refused. `interrupting`: those under way are being cut off."""

    def __init__(self) -> None:
        self.draining = False
        self.interrupting = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle: asyncio.Event | None = None

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    def enter(self) -> asyncio.Task[Any]:
        """Count the current task as a request under way. Raises `NoCapacity` while draining."""
        if self.draining:
            raise NoCapacity("The service is shutting down.", retry_after_s=RETRY_AFTER_S)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        return task

    def leave(self, task: asyncio.Task[Any]) -> None:
        """The request that `enter` returned is over."""
        self._tasks.discard(task)
        if self._idle is not None and not self._tasks:
            self._idle.set()

    async def drain(self, limit_s: float) -> None:
        """Return when no request is under way; those that last longer than `limit_s` are interrupted."""
        self.draining = True
        if not await self._wait_idle(limit_s):
            self.interrupting = True
            for task in self._tasks:
                task.cancel()
            await self._wait_idle(limit_s=1.0)

    async def _wait_idle(self, limit_s: float) -> bool:
        self._idle = asyncio.Event()
        if not self._tasks:
            return True
        try:
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
