"""A `Scheduler` that is elsewhere: what a gateway has of the cluster's one scheduler.

    scheduler = RemoteScheduler(locate, token, "gateway-1")             # locate: where it is now, asked before every connection
    await scheduler.connected(30.0)
    lease = await scheduler.acquire(request)

When the connection is lost, or the scheduler's process, another is looked for, and learns which leases are held and who waits. Who
waits notices nothing but time, up to `patience_s`; what is given back meanwhile is told later. `status`, `memory`, `weigh` and
`position` are answered from what was last pushed (`age_s` ago).

Not here: finding and connecting (`dialling.py`), who waits for what (`questions.py`), and the other side (`server.py`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

from msgspec.structs import replace

from orchestrator.errors import NoCapacity
from orchestrator.scheduler.base import (
    UNUSED,
    ExpertStatus,
    Lease,
    LeaseOutcome,
    LeaseRequest,
    MemoryStatus,
    Place,
    Position,
    Weighed,
)
from orchestrator.scheduler.remote.connection import PING_S, Connection
from orchestrator.scheduler.remote.dialling import Dialler, Locate
from orchestrator.scheduler.remote.questions import Questions, unreachable
from orchestrator.scheduler.remote.reach import Reach
from orchestrator.scheduler.remote.seen import updated
from orchestrator.scheduler.remote.wire import (
    FROM_SCHEDULER,
    VERSION,
    Acquire,
    Cancel,
    Changes,
    Done,
    Failed,
    Granted,
    Held,
    Hello,
    Leave,
    Message,
    Ping,
    Positions,
    Question,
    Refused,
    Release,
    Reload,
    Snapshot,
    Unload,
    Warm,
    encode,
    unpack_error,
)

PATIENCE_S = 10.0
LOOK_S = 0.1
"""Between two looks at who has waited for too long, while there is no connection."""
NOTHING_WEIGHED = Weighed({}, {})

logger = logging.getLogger(__name__)


class RemoteScheduler:
    """A `Scheduler` over a connection. client_id: names this process, and no other of them. node: that it is on.

    patience_s: how long requests wait for a connection before they are refused. clock: seconds, as in `deadline`. reach: knows
    which nodes can't be reached from here; it ends with this.
    """

    def __init__(
        self,
        locate: Locate,
        token: str,
        client_id: str,
        *,
        node: str = "",
        patience_s: float = PATIENCE_S,
        ping_s: float = PING_S,
        clock: Callable[[], float] = time.monotonic,
        reach: Reach | None = None,
    ) -> None:
        self._token = token
        self._client_id = client_id
        self._node = node
        self._clock = clock
        self._dialler = Dialler(locate, receive=self._receive, opened=self._opened, lost=self._lost, ping_s=ping_s)
        self._reach = reach or Reach()
        self._connection: Connection | None = None
        self._numbers = count(1)
        self._questions = Questions(clock, patience_s)
        self._held: dict[str, Lease] = {}
        self._unsaid: dict[str, tuple[Lease, LeaseOutcome]] = {}
        self._snapshot = Snapshot((), MemoryStatus(0, 0, 0, 0), Weighed({}, {}))
        self._positions: dict[str, Position] = {}
        self._seen_at = -math.inf
        self._welcome = asyncio.Event()
        self._lost_at = -math.inf
        self._looking: asyncio.TimerHandle | None = None
        self._refused = False
        self._closed = False

    @property
    def is_connected(self) -> bool:
        return self._welcome.is_set()

    @property
    def away_s(self) -> float:
        """For how long there has been no connection; 0 while there is one, infinite before the first."""
        return 0.0 if self.is_connected else self._clock() - self._lost_at

    @property
    def age_s(self) -> float:
        """How old what is known of the scheduler is; infinite while nothing is."""
        return self._clock() - self._seen_at

    async def connected(self, timeout_s: float) -> None:
        """Begin to connect, unless that has begun, and wait for it. Raises `NoCapacity`."""
        self._begin()
        try:
            async with asyncio.timeout(timeout_s):
                await self._welcome.wait()
        except TimeoutError:
            raise unreachable() from None

    async def acquire(self, request: LeaseRequest) -> Lease:
        left_s = request.deadline - self._clock()
        if self._node:
            request = replace(request, node=self._node, unreachable=self._reach.lost)
        lease: Lease = await self._ask(Acquire(next(self._numbers), request, left_s), request.deadline)
        return lease

    def release(self, lease: Lease, outcome: LeaseOutcome) -> None:
        """Raises ValueError for a lease that was given back before. After `close`, all of them were."""
        if self._closed:
            return
        if self._held.pop(lease.id, None) is None:
            raise ValueError(f"the lease {lease.id} was given back before")
        if not outcome.reached and lease.node and lease.node != self._node and lease.endpoint is not None:
            self._reach.failed(lease.node, lease.endpoint.base_url)
            outcome = replace(outcome, ok=None)  # others may reach it
        if self._connection is not None:
            self._connection.send(encode(Release(lease.id, outcome)))
        else:
            self._unsaid[lease.id] = (lease, outcome)

    def weigh(self, experts: Iterable[str]) -> Weighed:
        known = self._snapshot.weighed
        weighed = Weighed({}, {})
        for expert in experts:
            if expert in known.waits_s:
                weighed.waits_s[expert] = known.waits_s[expert]
            if expert in known.imposed_s:
                weighed.imposed_s[expert] = known.imposed_s[expert]
        return weighed

    def position(self, request_id: str) -> Position | None:
        return self._positions.get(request_id)

    def status(self) -> tuple[ExpertStatus, ...]:
        return self._snapshot.status

    def memory(self) -> MemoryStatus:
        return self._snapshot.memory

    async def warm(self, expert: str) -> None:
        await self._ask(Warm(next(self._numbers), expert), math.inf)

    async def unload(self, expert: str) -> None:
        await self._ask(Unload(next(self._numbers), expert), math.inf)

    async def reconfigure(
        self, places: Sequence[Place], budget_bytes: int, asleep_budget_bytes: int | None = None
    ) -> None:
        """Have the scheduler read its own configuration again: what it finds there counts, and not what is said here."""
        await self._ask(Reload(next(self._numbers)), math.inf)

    async def close(self) -> None:
        """Refuse new requests, and say goodbye. Servers belong to the scheduler, and stay."""
        self._closed = True
        self._questions.fail_all(_shutting_down)
        self._held.clear()
        self._unsaid.clear()
        self._reach.close()
        if self._looking is not None:
            self._looking.cancel()
        if self._connection is not None:
            self._connection.send(encode(Leave()))
            self._connection.close()
            self._connection = None
        self._welcome.clear()
        await self._dialler.close()

    # Questions

    async def _ask(self, question: Question, deadline: float) -> Any:
        """Its answer. Raises what the scheduler does, and `NoCapacity` when there is none for too long."""
        if self._closed:
            raise _shutting_down()
        frame = encode(question)  # what can't be said is not asked again with every connection
        asked = self._questions.add(question, deadline)
        if self._connection is not None:
            self._connection.send(frame)
        else:
            self._begin()
        try:
            return await asked.answer
        except asyncio.CancelledError:
            if self._questions.forget(question.number):
                self._send(Cancel(question.number))
            elif not asked.answer.cancelled() and asked.answer.exception() is None and isinstance(question, Acquire):
                self.release(asked.answer.result(), UNUSED)  # granted in the moment of the cancellation
            raise
        finally:
            if isinstance(question, Acquire):
                self._positions.pop(question.request.id, None)

    def _send(self, message: Message) -> None:
        if self._connection is not None:
            self._connection.send(encode(message))

    # The connection

    def _begin(self) -> None:
        """Look for the scheduler, and after who waits for it."""
        self._dialler.start()
        if self._looking is None:
            self._look()

    def _look(self) -> None:
        """Let nobody wait for a connection for too long."""
        for number in self._questions.expire(self._lost_at):
            self._send(Cancel(number))
        self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _opened(self, connection: Connection) -> None:
        """Say who is here, what is held, and what is asked for."""
        if self._closed:  # while it was being made
            return connection.close()
        self._connection, self._refused = connection, False
        unsaid, self._unsaid = self._unsaid, {}
        unsaid_leases = (lease for lease, _ in unsaid.values())
        connection.send(encode(Hello(VERSION, self._token, self._client_id)))
        held = (replace(lease, weighed=NOTHING_WEIGHED) for lease in (*self._held.values(), *unsaid_leases))
        connection.send(encode(Held(tuple(held))))
        for lease, outcome in unsaid.values():
            connection.send(encode(Release(lease.id, outcome)))
        for question in self._questions.again():
            connection.send(encode(question))
        return None

    def _lost(self, connection: Connection) -> None:
        if self._connection is not connection:
            return
        self._connection = None
        if self._welcome.is_set():
            self._lost_at = self._clock()
            self._dialler.failed(f"the one with {connection.peer} is lost")
        elif not self._refused:
            self._dialler.failed(f"{connection.peer} ended it without a word")
        self._welcome.clear()
        self._begin()

    def _receive(self, connection: Connection, payload: bytes | bytearray) -> None:
        message = FROM_SCHEDULER.decode(payload)
        match message:
            case Granted(number, lease):
                if self._questions.answer(number, lease):
                    self._held[lease.id] = lease
                else:
                    connection.send(encode(Release(lease.id, UNUSED)))
            case Done(number):
                self._questions.answer(number, None)
            case Failed(number, failure):
                self._questions.fail(number, unpack_error(failure))
            case Snapshot():
                self._see(message)
                if not self.is_connected:
                    self._welcomed(connection)
            case Changes():
                self._see(updated(self._snapshot, message))
            case Positions(positions):
                self._positions = positions
            case Refused(reason):
                self._refused = True
                self._dialler.failed(reason)
            case Ping():
                pass

    def _see(self, snapshot: Snapshot) -> None:
        self._snapshot, self._seen_at = snapshot, self._clock()
        if snapshot.memory.nodes:
            self._reach.keep(snapshot.memory.nodes.keys())

    def _welcomed(self, connection: Connection) -> None:
        logger.info("connected to the scheduler at %s", connection.peer)
        self._welcome.set()
        self._dialler.welcomed()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None


def _shutting_down() -> NoCapacity:
    return NoCapacity("the service is shutting down")
