"""The nodes that this process can't reach, though the scheduler can: what it asks for must not be there, until it can again.

    reach = Reach()
    reach.failed("10.0.0.7", "http://10.0.0.7:41234/v1")    # nothing was heard from there
    reach.lost                                              # {"10.0.0.7"}, until somebody answers there
    reach.close()

Each is asked for a connection again and again, so that no request has to find out. Not here: who notices first (the expert that was
asked, `orchestrator/experts/failures.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Set
from urllib.parse import urlsplit

from orchestrator.scheduler.remote.connection import Address

LOOK_S = 1.0
CONNECT_S = 2.0

logger = logging.getLogger(__name__)


async def answers(address: Address) -> bool:
    """Whether there is a machine that says something, if only that nobody listens there any more."""
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(*address)
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    except OSError:  # `TimeoutError` is one
        return False
    writer.transport.abort()
    return True


class Reach:
    """answers: asks a machine. look_s: between two questions."""

    def __init__(self, answers: Callable[[Address], Awaitable[bool]] = answers, look_s: float = LOOK_S) -> None:
        self._answers = answers
        self._look_s = look_s
        self._looking: dict[str, asyncio.Task[None]] = {}

    @property
    def lost(self) -> tuple[str, ...]:
        return tuple(self._looking)

    def failed(self, node: str, url: str) -> None:
        """Nothing was heard of the node, asked at this URL."""
        if node in self._looking:
            return
        logger.warning("the node at %s can't be reached from here", node)
        parts = urlsplit(url)
        address = Address(parts.hostname or node, parts.port or 80)
        self._looking[node] = asyncio.create_task(self._look(node, address), name="unreachable-node")

    def keep(self, nodes: Set[str]) -> None:
        """Forget those that are none of these: the scheduler can't reach them either."""
        for node in self._looking.keys() - nodes:
            self._looking.pop(node).cancel()

    def close(self) -> None:
        self.keep(set())

    async def _look(self, node: str, address: Address) -> None:
        try:
            while not await self._answers(address):  # noqa: ASYNC110 (a network gives no event)
                await asyncio.sleep(self._look_s)
            logger.info("the node at %s can be reached again", node)
        finally:  # or it would stay unreachable for good
            if self._looking.get(node) is asyncio.current_task():
                del self._looking[node]
