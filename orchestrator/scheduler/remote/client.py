"""A `Scheduler` that is elsewhere: what a gateway has of the cluster's one scheduler.

    scheduler = RemoteScheduler(locate, token, "gateway-1")             # locate: where it is now, asked before every connection
    await scheduler.connected(30.0)
    lease = await scheduler.acquire(request)

When the connection is lost, or the scheduler's process, another is looked for, and learns which leases are held and who waits. Who
waits notices nothing but time, up to `patience_s`; what is given back meanwhile is told later. `status`, `memory`, `weigh` and
`position` are answered from what was last pushed (`age_s` ago).

Not here: finding and connecting (`dialling.py`), and the other side (`server.py`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from orchestrator.errors import DeadlineExceeded, NoCapacity, SwitchyardError
from orchestrator.scheduler.base import (
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
from orchestrator.scheduler.remote.wire import (
    FROM_SCHEDULER,
    UNUSED,
    VERSION,
    Acquire,
    Cancel,
    Done,
    Failed,
    Granted,
    Held,
    Hello,
    Leave,
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
RETRY_AFTER_S = 1.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Asked:
    """A question without an answer yet. at, deadline: of this side's clock."""

    question: Question
    answer: asyncio.Future[Any]
    at: float
    deadline: float


class RemoteScheduler:
    """A `Scheduler` over a connection. client_id: names this process, and no other of them. node: that it is on.

    patience_s: how long requests wait for a connection before they are refused. clock: seconds, as in `deadline`.
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
    ) -> None:
        self._token = token
        self._client_id = client_id
        self._node = node
        self._patience_s = patience_s
        self._clock = clock
        self._dialler = Dialler(locate, receive=self._receive, opened=self._opened, lost=self._lost, ping_s=ping_s)
        self._connection: Connection | None = None
        self._numbers = count(1)
        self._asked: dict[int, Asked] = {}
        self._held: dict[str, Lease] = {}
        self._unsaid: dict[str, tuple[Lease, LeaseOutcome]] = {}
        self._snapshot = Snapshot((), MemoryStatus(0, 0, 0, 0), Weighed({}, {}))
        self._positions: dict[str, Position] = {}
        self._seen_at = -math.inf
        self._welcome = asyncio.Event()
        self._lost_at = -math.inf
        self._looking: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def is_connected(self) -> bool:
        return self._welcome.is_set()

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
            raise _unreachable() from None

    async def acquire(self, request: LeaseRequest) -> Lease:
        left_s = request.deadline - self._clock()
        if self._node:
            request = replace(request, node=self._node)
        lease: Lease = await self._ask(Acquire(next(self._numbers), request, left_s), request.deadline)
        return lease

    def release(self, lease: Lease, outcome: LeaseOutcome) -> None:
        """Raises ValueError for a lease that was given back before. After `close`, all of them were."""
        if self._closed:
            return
        if self._held.pop(lease.id, None) is None:
            raise ValueError(f"the lease {lease.id} was given back before")
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
        for asked in self._asked.values():
            if not asked.answer.done():
                asked.answer.set_exception(_shutting_down())
        self._asked.clear()
        self._held.clear()
        self._unsaid.clear()
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
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        asked = self._asked[question.number] = Asked(question, answer, self._clock(), deadline)
        if self._connection is not None:
            self._connection.send(encode(question))
        else:
            self._begin()
        try:
            return await answer
        except asyncio.CancelledError:
            if question.number in self._asked:
                self._forget(asked)
            elif not answer.cancelled() and answer.exception() is None and isinstance(question, Acquire):
                self.release(answer.result(), UNUSED)  # granted in the moment of the cancellation
            raise
        finally:
            if isinstance(question, Acquire):
                self._positions.pop(question.request.id, None)

    def _forget(self, asked: Asked) -> None:
        """Nobody waits for it any more."""
        del self._asked[asked.question.number]
        if self._connection is not None:
            self._connection.send(encode(Cancel(asked.question.number)))

    # The connection

    def _begin(self) -> None:
        """Look for the scheduler, and after who waits for it."""
        self._dialler.start()
        if self._looking is None:
            self._look()

    def _look(self) -> None:
        """Let nobody wait for a connection for too long."""
        now = self._clock()
        for asked in list(self._asked.values()):
            if asked.answer.done():
                continue
            if now >= asked.deadline:
                self._forget(asked)
                asked.answer.set_exception(DeadlineExceeded("the scheduler was not there before the deadline"))
            elif now >= max(asked.at, self._lost_at) + self._patience_s:
                self._forget(asked)
                asked.answer.set_exception(_unreachable())
        self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _opened(self, connection: Connection) -> None:
        """Say who is here, what is held, and what is asked for."""
        self._connection = connection
        unsaid, self._unsaid = self._unsaid, {}
        unsaid_leases = (lease for lease, _ in unsaid.values())
        connection.send(encode(Hello(VERSION, self._token, self._client_id)))
        connection.send(encode(Held((*self._held.values(), *unsaid_leases))))
        for lease, outcome in unsaid.values():
            connection.send(encode(Release(lease.id, outcome)))
        for asked in self._asked.values():
            if isinstance(asked.question, Acquire):
                asked.question.left_s = asked.deadline - self._clock()
            connection.send(encode(asked.question))

    def _lost(self, connection: Connection) -> None:
        if self._connection is not connection:
            return
        self._connection = None
        if self._welcome.is_set():
            self._lost_at = self._clock()
            self._dialler.failed(f"the one with {connection.peer} is lost")
        self._welcome.clear()
        self._begin()

    def _receive(self, connection: Connection, payload: bytes | bytearray) -> None:
        message = FROM_SCHEDULER.decode(payload)
        match message:
            case Granted(number, lease):
                asked = self._asked.pop(number, None)
                if asked is None or asked.answer.done():
                    connection.send(encode(Release(lease.id, UNUSED)))
                else:
                    self._held[lease.id] = lease
                    asked.answer.set_result(lease)
            case Done(number):
                self._answered(number, None)
            case Failed(number, failure):
                self._answered(number, unpack_error(failure))
            case Snapshot():
                self._snapshot, self._seen_at = message, self._clock()
                if not self.is_connected:
                    self._welcomed(connection)
            case Positions(positions):
                self._positions = positions
            case Refused(reason):
                self._dialler.failed(reason)
            case Ping():
                pass

    def _answered(self, number: int, error: SwitchyardError | None) -> None:
        asked = self._asked.pop(number, None)
        if asked is None or asked.answer.done():
            return
        if error is None:
            asked.answer.set_result(None)
        else:
            asked.answer.set_exception(error)

    def _welcomed(self, connection: Connection) -> None:
        logger.info("connected to the scheduler at %s", connection.peer)
        self._welcome.set()
        self._dialler.welcomed()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None


def _unreachable() -> NoCapacity:
    return NoCapacity("the scheduler can't be reached now", retry_after_s=RETRY_AFTER_S)


def _shutting_down() -> NoCapacity:
    return NoCapacity("the service is shutting down")
