"""Whether the gateway takes requests, and which ones are under way.

    lifecycle = Lifecycle()
    task = lifecycle.enter(deadline)              # raises NoCapacity while draining
    lifecycle.interruption(task)                  # why it was cancelled, if it was cancelled here
    lifecycle.leave(task)
    await lifecycle.drain(limit_s=30)             # refuses new ones, waits, then interrupts what is left

One timer looks after the deadlines of all requests, because one per request costs each its share. It is the last resort, for
bodies that don't arrive and clients that don't read: what waits for an expert ends by itself when the time is over. Not here:
sockets and signals (`server.py`).
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from orchestrator.errors import DeadlineExceeded, NoCapacity, SwitchyardError

RETRY_AFTER_S = 5.0


class Lifecycle:
    """One per gateway. `draining`: new requests are refused.

    sweep_s: how often deadlines are looked at, and how long after its own a request may still end by itself.
    """

    def __init__(self, *, sweep_s: float = 1.0) -> None:
        self.draining = False
        self._sweep_s = sweep_s
        self._deadlines: dict[asyncio.Task[Any], float] = {}
        self._interruptions: dict[asyncio.Task[Any], SwitchyardError] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._idle: asyncio.Event | None = None

    @property
    def in_flight(self) -> int:
        return len(self._deadlines)

    def enter(self, deadline: float = math.inf) -> asyncio.Task[Any]:
        """Count the current task as a request under way. Raises `NoCapacity` while draining. deadline: monotonic seconds."""
        if self.draining:
            raise NoCapacity("The service is shutting down.", retry_after_s=RETRY_AFTER_S)
        task = asyncio.current_task()
        assert task is not None
        self._deadlines[task] = deadline
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._sweep_s, self._sweep)
        return task

    def interruption(self, task: asyncio.Task[Any]) -> SwitchyardError | None:
        """Why `task` was cancelled; None when somebody else did."""
        return self._interruptions.get(task)

    def leave(self, task: asyncio.Task[Any]) -> None:
        """The request that `enter` returned is over."""
        self._deadlines.pop(task, None)
        self._interruptions.pop(task, None)
        if self._idle is not None and not self._deadlines:
            self._idle.set()

    async def drain(self, limit_s: float) -> None:
        """Return when no request is under way; those that last longer than `limit_s` are interrupted."""
        self.draining = True
        if not await self._wait_idle(limit_s):
            for task in self._deadlines:
                self._interrupt(task, NoCapacity("The service is shutting down."))
            await self._wait_idle(limit_s=1.0)

    def _sweep(self) -> None:
        latest = time.monotonic() - self._sweep_s
        for task, deadline in self._deadlines.items():
            if deadline <= latest and task not in self._interruptions:
                self._interrupt(task, DeadlineExceeded("The request was not over in the time that it may take."))
        self._sweeper = None
        if self._deadlines:
            self._sweeper = asyncio.get_running_loop().call_later(self._sweep_s, self._sweep)

    def _interrupt(self, task: asyncio.Task[Any], why: SwitchyardError) -> None:
        self._interruptions[task] = why
        task.cancel(why)  # the reason goes with it into the record of the decision

    async def _wait_idle(self, limit_s: float) -> bool:
        self._idle = asyncio.Event()
        if not self._deadlines:
            return True
        try:
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
