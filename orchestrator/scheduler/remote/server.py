"""Serves a scheduler to gateways on other machines, over one TCP connection each.

    server = SchedulerServer(scheduler, token, reload=reread, restore=core_restore)
    address = await server.start("10.0.0.7")
    await server.close()                                    # the scheduler stays as it is

The connection tells who is there. When it closes, the gateway's waiting requests are cancelled at once, and its leases are given
back after `grace_s`, unless it is back by then: a stream runs on while a connection is mended, and its expert's memory must not go.

Not here: what one gateway holds and asks (`session.py`), what gateways are told without asking (`pushing.py`), and the gateway's
side (`client.py`).
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable

from orchestrator.scheduler.base import Scheduler
from orchestrator.scheduler.remote.connection import PING_S, SILENT_PINGS, Address, Connection
from orchestrator.scheduler.remote.pushing import Pusher
from orchestrator.scheduler.remote.session import Desk, Restore, Session
from orchestrator.scheduler.remote.wire import (
    FROM_GATEWAY,
    HELLO,
    MAX_FRAME_BYTES,
    MAX_HELLO_BYTES,
    VERSION,
    Hello,
    Refused,
    encode,
)

GRACE_S = 5.0
SNAPSHOT_S = 0.5

logger = logging.getLogger(__name__)


class SchedulerServer:
    """token: what gateways must know. reload: reads the scheduler's own configuration again, and raises what `reconfigure` does.

    restore: counts leases again that a gateway holds and the scheduler doesn't know, because it is a new one, or the gateway was
    away for too long. grace_s: how long a gateway may be away. clock: seconds, as in the deadlines that `scheduler` is given.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        token: str,
        *,
        reload: Callable[[], Awaitable[None]],
        restore: Restore,
        grace_s: float = GRACE_S,
        snapshot_s: float = SNAPSHOT_S,
        ping_s: float = PING_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token = token
        self._grace_s = grace_s
        self._ping_s = ping_s
        self._pusher = Pusher(scheduler, self._present, snapshot_s)
        self._desk = Desk(scheduler, reload, restore, self._pusher.changed, self._left, clock)
        self._listener: asyncio.Server
        self._connections: dict[Connection, Session | None] = {}
        self._sessions: dict[str, Session] = {}
        self._away: dict[Session, asyncio.TimerHandle] = {}

    @property
    def clients(self) -> set[str]:
        """Those that are connected, or were until a moment ago."""
        return set(self._sessions)

    async def start(self, host: str, port: int = 0) -> Address:
        """Listen; port 0 is any that is free. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._connection, host, port)
        self._pusher.start()
        return Address(*self._listener.sockets[0].getsockname()[:2])

    async def close(self) -> None:
        """Gateways keep what they hold, wait, and look for another scheduler."""
        self._listener.close()
        self._pusher.stop()
        for timer in self._away.values():
            timer.cancel()
        self._away.clear()
        self._sessions.clear()
        for connection, session in list(self._connections.items()):
            if session is not None:
                session.detach()
            connection.close()
        await self._listener.wait_closed()

    def _present(self) -> list[Session]:
        return [session for session in self._connections.values() if session is not None]

    # Connections

    def _connection(self) -> Connection:
        return Connection(
            receive=self._receive,
            opened=self._opened,
            lost=self._lost,
            ping_s=self._ping_s,
            max_frame_bytes=MAX_HELLO_BYTES,
        )

    def _opened(self, connection: Connection) -> None:
        self._connections[connection] = None
        asyncio.get_running_loop().call_later(SILENT_PINGS * self._ping_s, self._expect_hello, connection)

    def _expect_hello(self, connection: Connection) -> None:
        if connection in self._connections and self._connections[connection] is None:
            connection.fail("it didn't say who it is")

    def _lost(self, connection: Connection) -> None:
        session = self._connections.pop(connection)
        if session is None or session.connection is not connection:
            return
        session.detach()
        self._away[session] = asyncio.get_running_loop().call_later(self._grace_s, self._expire, session)

    def _expire(self, session: Session) -> None:
        logger.warning("%s is not back: what it held is given back", session.client_id)
        del self._away[session], self._sessions[session.client_id]
        session.give_back()

    def _left(self, session: Session) -> None:
        if (connection := session.connection) is not None:
            session.detach()
            session.give_back()
            del self._sessions[session.client_id]
            connection.close()

    def _receive(self, connection: Connection, payload: bytes | bytearray) -> None:
        session = self._connections[connection]
        if session is None:
            self._meet(connection, HELLO.decode(payload))
        elif session.connection is connection:
            session.handle(FROM_GATEWAY.decode(payload))

    def _meet(self, connection: Connection, hello: Hello) -> None:
        """Whoever knows the token is welcome, and takes the place of whoever had its name."""
        reason = ""
        if not hmac.compare_digest(hello.token.encode(), self._token.encode()):
            reason = "the token is wrong"
        elif hello.version != VERSION:
            reason = f"this scheduler speaks version {VERSION}, and not {hello.version}"
        if reason:
            logger.warning("a gateway at %s is refused: %s", connection.peer, reason)
            connection.send(encode(Refused(reason)))
            return connection.close()
        connection.max_frame_bytes = MAX_FRAME_BYTES
        session = self._sessions.get(hello.client_id)
        if session is None:
            session = self._sessions[hello.client_id] = Session(hello.client_id, self._desk)
        elif (timer := self._away.pop(session, None)) is not None:
            timer.cancel()
        if (before := session.connection) is not None:
            session.detach()
            before.fail(f"{hello.client_id} has another now")
        session.connection = connection
        self._connections[connection] = session
        return self._pusher.welcome(connection)
