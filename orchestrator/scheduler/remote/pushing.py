"""Tells gateways how things stand, again and again: all of it when they come, then what has changed.

    pusher = Pusher(scheduler, sessions, snapshot_s=0.5)
    pusher.start()
    pusher.welcome(connection)
    pusher.changed(at_once=False)                   # something has, that they should see soon
    pusher.stop()

Every `snapshot_s` something is told, if only that nothing has changed, and sooner when something has. It takes no more than a
twentieth of the processor's time, however large the fleet is. Whoever doesn't keep up with it is told less often. Not here: what
a gateway asks (`session.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from orchestrator.scheduler.base import MemoryStatus, Scheduler, Weighed
from orchestrator.scheduler.remote.connection import Connection
from orchestrator.scheduler.remote.seen import difference
from orchestrator.scheduler.remote.session import Session
from orchestrator.scheduler.remote.wire import Positions, Snapshot, encode

SOON_S = 0.05
PAUSES = 20
"""Between two pushes pass at least this many times the processor's time that the last one took."""
BEHIND_BYTES = 1 << 20
"""Whoever has so much to read yet is told nothing more."""


class Pusher:
    """sessions: of the gateways that have said who they are."""

    def __init__(self, scheduler: Scheduler, sessions: Callable[[], Iterable[Session]], snapshot_s: float) -> None:
        self._scheduler = scheduler
        self._sessions = sessions
        self._snapshot_s = snapshot_s
        self._last = Snapshot((), MemoryStatus(0, 0, 0, 0), Weighed({}, {}))
        self._told: set[Connection] = set()
        """Who knows the last one."""
        self._next: asyncio.Handle
        self._next_at = 0.0
        self._not_before = 0.0

    def start(self) -> None:
        self._push_at(asyncio.get_running_loop().time())

    def stop(self) -> None:
        self._next.cancel()

    def welcome(self, connection: Connection) -> None:
        """Tell a new one all of it."""
        if not self._told:  # and nobody has been for a while
            self._last = self._look()
        self._told.add(connection)
        connection.send(encode(self._last))
        self.changed(False)

    def changed(self, at_once: bool) -> None:
        loop = asyncio.get_running_loop()
        if at_once:
            self._next.cancel()
            self._push()
        elif (at := max(loop.time(), self._not_before)) < self._next_at:
            self._next.cancel()
            self._push_at(at)

    def _push_at(self, at: float) -> None:
        """at: as the loop has it; what uvloop returns for a moment that is past can't tell it again."""
        self._next_at = at
        self._next = asyncio.get_running_loop().call_at(at, self._push)

    def _push(self) -> None:
        began = time.thread_time()  # not the time that others take from this process
        try:
            self._tell_all()
        finally:
            now, pause_s = asyncio.get_running_loop().time(), PAUSES * (time.thread_time() - began)
            self._not_before = now + max(pause_s, min(SOON_S, self._snapshot_s))
            self._push_at(now + max(pause_s, self._snapshot_s))

    def _tell_all(self) -> None:
        """The same for all, and each one's own positions."""
        sessions = list(self._sessions())
        told, self._told = self._told, set()
        if not sessions:
            return
        before, self._last = self._last, self._look()
        changes = difference(before, self._last)
        some, whole = None if changes is None else encode(changes), b""
        for session in sessions:
            connection = session.connection
            if connection is None or connection.unsent_bytes > BEHIND_BYTES:
                continue
            if some is not None and connection in told:
                connection.send(some)
            else:
                whole = whole or encode(self._last)
                connection.send(whole)
            self._told.add(connection)
            connection.send(encode(Positions(dict(session.positions()))))

    def _look(self) -> Snapshot:
        status = self._scheduler.status()
        weighed = self._scheduler.weigh(dict.fromkeys(each.expert for each in status))
        return Snapshot(status, self._scheduler.memory(), weighed)
