"""Who waits for which expert, and who is next. A part of the state machine in `core.py`; pure like it.

    waiter = queues.add(request, expert, now)
    queues.next_for(expert.host, now)           # (waiter, expert): the oldest that is bound to this host, or would rather be
    queues.move(waiter, another, now)

Every waiter is bound to one replica of an expert, in whose queue it counts, and listed with all its candidates, in order of ranks
(`fairness.py`). Not here: which one it is bound to (`weighing.py`).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import count, islice

from orchestrator.scheduler.actions import Outbox
from orchestrator.scheduler.base import ExpertStatus, LeaseRequest, Position
from orchestrator.scheduler.fairness import RankedQueue
from orchestrator.scheduler.nodes import Nodes
from orchestrator.scheduler.roster import Roster
from orchestrator.scheduler.state import Expert, Host, Waiter
from orchestrator.scheduler.weighing import Weighing, reopens_at

SCAN = 32
"""How many waiters an expert with room looks at for one that would rather have it than its own, when nobody is bound to it."""
SCAN_BESIDE = 8
"""The same when somebody is."""


SPARE_DEADLINES = 1000
"""How many deadlines of requests that have long been served may be remembered before they are swept out."""


class Queues:
    """`adopt` has it take over another fleet."""

    def __init__(self, nodes: Nodes, weighing: Weighing, outbox: Outbox) -> None:
        self.waiters: dict[int, Waiter] = {}
        self._by_request: dict[str, list[Waiter]] = {}  # a panel's members have one id
        self._deadlines: list[tuple[float, int]] = []
        self._tickets = count(1)
        self._listed: dict[str, RankedQueue[Waiter]] = {}  # by expert, everybody who has it as a candidate
        self._nodes = nodes
        self._weighing = weighing
        self._outbox = outbox

    def adopt(self, roster: Roster) -> None:
        """Another fleet, in which everybody is listed; who is bound to an expert that is gone is the caller's to move."""
        self._weighing.experts = roster.experts
        before, self._listed = self._listed, {}
        new: dict[str, RankedQueue[Waiter]] = {}
        for name, replicas in roster.replicas.items():
            turns, queue = replicas[0].host.turns, before.get(name)
            if queue is None or queue.turns is not turns:
                queue = new[name] = RankedQueue(turns)
            self._listed[name] = queue
        for waiter in self.waiters.values() if new else ():
            self._list(waiter, new)

    # Waiting

    def add(self, request: LeaseRequest, expert: Expert, now: float) -> Waiter:
        ticket = next(self._tickets)
        waiter = Waiter(
            ticket,
            request.id,
            request.candidates,
            request.mu,
            request.deadline,
            arrived=now,
            bound=expert,
            tenant=request.tenant,
            bulk=request.bulk,
            session=request.session,
            node=request.node,
            tried=request.tried,
        )
        self.waiters[waiter.ticket] = waiter
        self._by_request.setdefault(request.id, []).append(waiter)
        if request.deadline < math.inf:
            self._note_deadline(waiter)
        self._list(waiter, self._listed)
        self._join(waiter, expert, now)
        for other in self._weighing.known(request.candidates):
            if other.windows or not other.allows(now):  # it may be better by then
                free_at = max(reopens_at(other), now + other.rate_wait_s(now))
                if free_at > now:
                    self._outbox.wake_at(free_at, other.host)
        return waiter

    def remove(self, waiter: Waiter, now: float, *, served_by: Host | None = None) -> None:
        """It has its lease, or went away."""
        del self.waiters[waiter.ticket]
        of_request = self._by_request[waiter.request_id]
        of_request.remove(waiter)
        if not of_request:
            del self._by_request[waiter.request_id]
        self._leave(waiter, waiter.bound, now)
        self._unlist(waiter, (choice.expert for choice in waiter.candidates))
        served_at = None if served_by is None else served_by.turns
        for turns in waiter.ranks:
            turns.leave(waiter.kind, waiter.ticket, served=turns is served_at)

    def move(self, waiter: Waiter, expert: Expert, now: float) -> None:
        """Bind it to another expert; it keeps its ranks."""
        before = waiter.bound
        self._join(waiter, expert, now)  # first, or a host that both are on would seem unused
        self._leave(waiter, before, now)

    def strike(self, waiter: Waiter, hosts: Collection[Host]) -> None:
        """These hosts are nothing for this waiter any more; candidates without another one are none."""
        waiter.struck |= frozenset(hosts)
        names = {expert.name for host in hosts for expert in host.experts}
        experts = self._weighing.experts
        gone = {name for name in names if all(other.host in waiter.struck for other in experts.get(name, ()))}
        waiter.candidates = tuple(choice for choice in waiter.candidates if choice.expert not in gone)
        self._unlist(waiter, gone)

    def _join(self, waiter: Waiter, expert: Expert, now: float) -> None:
        waiter.bound = expert
        expert.join(waiter)
        if not expert.host.serving:
            self._nodes.of(expert.host).wanted.want(expert.host, now)

    def _leave(self, waiter: Waiter, expert: Expert, now: float) -> None:
        expert.leave(waiter)
        if not expert.host.queued:
            self._nodes.of(expert.host).residents.left(expert.host, now)

    def _list(self, waiter: Waiter, queues: Mapping[str, RankedQueue[Waiter]]) -> None:
        for choice in waiter.candidates:
            queue = queues.get(choice.expert)
            if queue is not None:
                if queue.turns not in waiter.ranks:
                    waiter.ranks[queue.turns] = queue.turns.rank(waiter.kind, waiter.ticket)
                queue.add(waiter)

    def _unlist(self, waiter: Waiter, names: Iterable[str]) -> None:
        for name in names:
            if name in self._listed:
                self._listed[name].discard(waiter)

    def still_waiting(self, waiters: Iterable[Waiter]) -> Iterator[Waiter]:
        """Those of a snapshot who still wait when their turn comes: moving one may serve another."""
        return (waiter for waiter in tuple(waiters) if waiter.ticket in self.waiters)

    def position(self, request_id: str, now: float) -> Position | None:
        """Of those who wait for the request (a panel's members), the one who is expected to wait longest; None without any."""
        positions = (self._position(waiter, now) for waiter in self._by_request.get(request_id, ()))
        return max(positions, key=lambda position: position.estimate_s, default=None)

    def _position(self, waiter: Waiter, now: float) -> Position:
        return Position(waiter.bound.name, waiter.ahead(waiter.bound.host), self._bound_wait_s(waiter, now))

    def status(self, expert: Expert, now: float) -> ExpertStatus:
        host = expert.host
        own = expert.name == host.name
        residents = self._nodes.of(host).residents
        return ExpertStatus(
            expert=expert.name,
            state=host.state,
            leases=expert.leases,
            waiting=len(expert.queue),
            expected_wait_s=self._weighing.arrival_wait_s(expert, now),
            breaker=expert.breaker.state(now),
            memory_bytes=host.memory_bytes if own and host in residents.hosts else 0,
            loads=host.loads,
            last_error=host.last_error,
            prefetch_hits=host.prefetch_hits if own else 0,
            prefetch_misses=host.prefetch_misses if own else 0,
            asleep_bytes=host.asleep_bytes if own and host in residents.sleepers.hosts else 0,
            node=host.node,
        )

    # Who is next

    def next_for(self, host: Host, now: float) -> tuple[Waiter, Expert] | None:
        """The first in rank that one of the host's experts should serve now, if any has room.

        Or, if it shares its `rpm` with other replicas, that one of these should serve before it.
        """
        heads = [head for expert in host.experts if (head := self._head(expert, now)) is not None]
        return min(heads, key=lambda head: head[0].ranks[host.turns], default=None)

    def _head(self, expert: Expert, now: float) -> tuple[Waiter, Expert] | None:
        listed = self._listed[expert.place.expert]
        if not expert.has_room(now):
            if listed and (rate_wait_s := expert.rate_wait_s(now)) > 0:
                self._outbox.wake_at(now + rate_wait_s, expert.host)
            return None
        own, turns = self._own_head(expert, now), expert.host.turns
        if expert.breaker.allows(now):
            for waiter in islice(listed, SCAN if own is None else SCAN_BESIDE):
                if own is not None and waiter.ranks[turns] >= own.ranks[turns]:
                    break
                if waiter.bound is expert:
                    continue
                if self._rather(waiter, expert, now):
                    return waiter, expert
                if expert.windows and waiter.bound.name == expert.name and _could_serve(waiter.bound, now):
                    return waiter, waiter.bound
        elif listed and not expert.breaker.probing:
            self._outbox.wake_at(expert.breaker.open_until, expert.host)
        return None if own is None else (own, expert)

    def _own_head(self, expert: Expert, now: float) -> Waiter | None:
        """Who is bound to an unhealthy expert had nowhere else to go, and may probe it."""
        if not expert.queue:
            return None
        if expert.breaker.admits(now):
            return expert.queue.head
        if not expert.breaker.probing:
            self._outbox.wake_at(expert.breaker.held_until, expert.host)
        return None

    def _rather(self, waiter: Waiter, expert: Expert, now: float) -> bool:
        """Whether it would rather have this expert, which has room, than wait for its own or another."""
        if self._weighing.can_stay(waiter, now):  # most would rather wait, and need no look at their other candidates
            gained = waiter.utilities[expert.place.expert] - waiter.utilities[waiter.bound.place.expert]
            if waiter.mu:
                gained += waiter.mu * self._bound_wait_s(waiter, now)
            elif waiter.bound.name == expert.name:  # of replicas, whoever weighs no time has the first
                gained = self._bound_wait_s(waiter, now)
            if gained <= 0.0:
                return False
        return self._weighing.binding(waiter, now, room=expert)[0] is expert

    def _bound_wait_s(self, waiter: Waiter, now: float) -> float:
        return self._weighing.wait_s(waiter.bound, now, waiter.ahead(waiter.bound.host), waiter)

    @property
    def oldest(self) -> Waiter | None:
        """Who has been waiting longest for anything."""
        return next(iter(self.waiters.values()), None)

    # Deadlines

    def _note_deadline(self, waiter: Waiter) -> None:
        if len(self._deadlines) > 2 * len(self.waiters) + SPARE_DEADLINES:
            self._deadlines = sorted(entry for entry in self._deadlines if entry[1] in self.waiters)
        heapq.heappush(self._deadlines, (waiter.deadline, waiter.ticket))

    @property
    def next_deadline(self) -> float:
        while self._deadlines and self._deadlines[0][1] not in self.waiters:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else math.inf

    def overdue(self, now: float) -> Iterator[Waiter]:
        """Those whose deadline has passed; the caller removes them."""
        while self.next_deadline <= now:
            yield self.waiters[heapq.heappop(self._deadlines)[1]]


def _could_serve(expert: Expert, now: float) -> bool:
    return expert.has_room(now) and expert.breaker.admits(now)
