"""Keeps one connection to the scheduler up: finds it, connects, and does so again when the connection is lost.

    dialler = Dialler(locate, receive=handle, opened=introduce, lost=wait_for_the_next)
    dialler.start()
    dialler.welcomed()                  # the other side has accepted us: the next outage begins with short pauses again
    await dialler.close()

Not here: what is said over the connection (`client.py`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from orchestrator.scheduler.remote.connection import Address, Connection

LOCATE_S = 5.0
CONNECT_S = 2.0
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0

Locate = Callable[[], Awaitable[Address]]

logger = logging.getLogger(__name__)


class Dialler:
    """locate: where the scheduler is now; asked before every attempt. Whatever it raises is a reason to try again.

    opened, lost: called in turn. ping_s: see `Connection`.
    """

    def __init__(
        self,
        locate: Locate,
        *,
        receive: Callable[[Connection, bytes | bytearray], None],
        opened: Callable[[Connection], None],
        lost: Callable[[Connection], None],
        ping_s: float,
    ) -> None:
        self._locate = locate
        self._receive = receive
        self._opened = opened
        self._lost = lost
        self._ping_s = ping_s
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._reason = ""
        self._last: Address | None = None

    def start(self) -> None:
        """In the background, until `close`. Once is enough."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="connect-to-scheduler")

    async def close(self) -> None:
        """Connect no more. A connection that there is stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def welcomed(self) -> None:
        self._failures = 0
        self._reason = ""

    def failed(self, reason: str) -> None:
        """Tell people, once for as long as the reason stays the same."""
        if reason != self._reason:
            logger.warning("no connection to the scheduler: %s", reason)
        self._reason = reason

    async def _run(self) -> None:
        while True:
            try:
                await self._connect()
            except Exception as error:  # noqa: BLE001 (how a scheduler is looked for, and how that may fail, is not known here)
                self.failed(str(error) or type(error).__name__)
            self._failures += 1
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 10))
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))

    async def _connect(self) -> None:
        """Connect, and return when the connection is lost."""
        address = await self._address()
        over = asyncio.Event()

        def lost(connection: Connection) -> None:
            over.set()
            self._lost(connection)

        def protocol() -> Connection:
            return Connection(receive=self._receive, opened=self._opened, lost=lost, ping_s=self._ping_s)

        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().create_connection(protocol, *address)
        self._last = address
        await over.wait()

    async def _address(self) -> Address:
        """Where it is, or else where it was last: who is asked for it may be cut off, and not hear for longer that this is over."""
        try:
            async with asyncio.timeout(LOCATE_S):
                return await self._locate()
        except Exception:  # see `_run`
            if self._last is None:
                raise
            return self._last
