"""One gateway as the scheduler's side sees it: what it holds, and what it waits for.

    session = Session("gateway-1", desk)
    session.connection = connection
    session.handle(Acquire(7, request, left_s=30.0))        # Granted or Failed is sent when it is known
    session.detach()                                        # who waits gives up at once; what is held stays

It outlives its connection: a gateway that is back within seconds finds its leases as they were.

Not here: who may connect, and how long a gateway may be away (`server.py`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from orchestrator.errors import NoCapacity, SwitchyardError
from orchestrator.scheduler.base import UNUSED, Lease, LeaseOutcome, Position, Scheduler
from orchestrator.scheduler.remote.connection import Connection
from orchestrator.scheduler.remote.wire import (
    Acquire,
    Cancel,
    Done,
    Failed,
    Granted,
    Held,
    Leave,
    Message,
    Ping,
    Question,
    Release,
    Reload,
    Unload,
    Warm,
    encode,
    pack_error,
)

Restore = Callable[[Sequence[Lease]], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """What sessions need. changed: the scheduler's state has, in a way that gateways should see soon, or (True) at once.

    left: a gateway says that it is through. birth: this scheduler's, of all that gateways may still hold leases of.
    """

    scheduler: Scheduler
    reload: Callable[[], Awaitable[None]]
    restore: Restore
    changed: Callable[[bool], None]
    left: Callable[[Session], None]
    clock: Callable[[], float]
    birth: str = field(default_factory=lambda: secrets.token_hex(4))
    reloading: asyncio.Lock = field(default_factory=asyncio.Lock)
    reloads: set[asyncio.Task[None]] = field(default_factory=set)

    async def reload_once(self) -> None:
        """One after the other, and to its end though who asked for it has gone."""
        task = asyncio.create_task(self._reload())
        self.reloads.add(task)
        task.add_done_callback(self._reloaded)
        await asyncio.shield(task)

    async def _reload(self) -> None:
        async with self.reloading:
            await self.reload()

    def _reloaded(self, task: asyncio.Task[None]) -> None:
        self.reloads.discard(task)
        if not task.cancelled():
            task.exception()  # told to who asked, if they are there


@dataclass(slots=True)
class Asked:
    """A question without an answer yet. request_id: None for what is no request."""

    task: asyncio.Task[None]
    request_id: str | None


class Session:
    """connection: None while the gateway is away."""

    def __init__(self, client_id: str, desk: Desk) -> None:
        self.client_id = client_id
        self.connection: Connection | None = None
        self._desk = desk
        self._leases: dict[str, Lease] = {}
        self._asked: dict[int, Asked] = {}

    def detach(self) -> None:
        """The connection is gone: nobody waits any more."""
        self.connection = None
        asked, self._asked = self._asked, {}
        for each in asked.values():
            each.task.cancel()

    def give_back(self) -> None:
        """It holds nothing any more."""
        self._reconcile(())

    def positions(self) -> Iterator[tuple[str, Position]]:
        for asked in self._asked.values():
            if asked.request_id is not None and (position := self._desk.scheduler.position(asked.request_id)):
                yield asked.request_id, position

    def handle(self, message: Message) -> None:
        """Messages take effect in the order in which they come: as questions' tasks begin in the loop's next turn, so do others."""
        match message:
            case Acquire():
                self._begin(message, message.request.id)
            case Warm() | Unload() | Reload():
                self._begin(message, None)
            case Release():
                asyncio.get_running_loop().call_soon(self._release, message.lease_id, message.outcome)
            case Cancel():
                if (asked := self._asked.pop(message.number, None)) is not None:
                    asked.task.cancel()
            case Held():
                self._reconcile(message.leases)
            case Leave():
                asyncio.get_running_loop().call_soon(self._desk.left, self)
            case Ping():
                pass

    def _begin(self, question: Question, request_id: str | None) -> None:
        assert self.connection is not None
        task = asyncio.create_task(self._answer(question, self.connection))
        self._asked[question.number] = Asked(task, request_id)

    async def _answer(self, question: Question, connection: Connection) -> None:
        """Whatever happens is answered, or a gateway would wait for ever. A cancelled question has been taken off the list."""
        try:
            answer = await self._answer_to(question)
        except SwitchyardError as error:
            answer = Failed(question.number, pack_error(error))
            self._desk.changed(False)
        except Exception:  # a bug in the scheduler, or of the configuration that it reads again
            logger.exception("%s could not be answered", type(question).__name__)
            answer = Failed(question.number, pack_error(NoCapacity("the scheduler has failed")))
        self._asked.pop(question.number, None)
        connection.send(encode(answer))

    async def _answer_to(self, question: Question) -> Message:
        match question:
            case Acquire():
                return await self._acquire(question)
            case Warm():
                await self._desk.scheduler.warm(question.expert)
            case Unload():
                await self._desk.scheduler.unload(question.expert)
            case Reload():
                await self._desk.reload_once()
        self._desk.changed(True)
        return Done(question.number)

    async def _acquire(self, question: Acquire) -> Granted:
        request = replace(question.request, deadline=self._desk.clock() + question.left_s)
        lease = await self._desk.scheduler.acquire(request)
        named = replace(
            lease, id=f"{self._desk.birth}/{lease.id}"
        )  # an earlier scheduler may have given one of the same id
        self._leases[named.id] = lease
        if lease.wait_s:  # somebody has left, or a load has ended
            self._desk.changed(False)
        return Granted(question.number, named)

    def _reconcile(self, held: Sequence[Lease]) -> None:
        """Count what the gateway holds, and nothing else: what it never heard of is given back, what is new here is restored."""
        known, self._leases = self._leases, {lease.id: self._leases.get(lease.id, lease) for lease in held}
        for lease_id, lease in known.items():
            if lease_id not in self._leases:
                self._give_back(lease, UNUSED)
        if restored := [lease for lease in held if lease.id not in known]:
            self._desk.restore(restored)

    def _release(self, lease_id: str, outcome: LeaseOutcome) -> None:
        lease = self._leases.pop(lease_id, None)
        if lease is not None:
            self._give_back(lease, outcome)

    def _give_back(self, lease: Lease, outcome: LeaseOutcome) -> None:
        try:
            self._desk.scheduler.release(lease, outcome)
        except ValueError:  # restored in vain: its expert is gone
            logger.info("%s gave back a lease that doesn't count any more: %s", self.client_id, lease.id)
