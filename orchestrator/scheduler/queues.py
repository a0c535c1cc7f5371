"""Who waits for which expert, and who is next. A part of the state machine in `core.py`; pure like it.

    expert, weighed = queues.target(request, now)
    waiter = queues.add(request, expert, now)
    queues.next_for(expert.host, now)           # (waiter, expert): the oldest that is bound to this host, or would rather be
    queues.binding(waiter, now, room=expert)    # whom it is bound to when it is granted, and the weights that say so

Every waiter is bound to one expert, in whose queue it counts, and listed with all of its candidates, in order of ranks
(`fairness.py`).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from typing import Protocol

from orchestrator.errors import ExpertError, NoCapacity, RateLimited, SwitchyardError
from orchestrator.scheduler.base import ExpertStatus, LeaseRequest, Position, Weighed
from orchestrator.scheduler.residency import Residency
from orchestrator.scheduler.rules import queue_wait_s
from orchestrator.scheduler.state import Expert, Host, Outbox, Waiter
from routers.policy import Choice, bind

SCAN = 32
"""How many waiters an expert with room looks at for one that would rather have it than its own, when nobody is bound to it."""
SCAN_BESIDE = 8
"""The same when somebody is."""


SPARE_DEADLINES = 1000
"""How many deadlines of requests that have long been served may be remembered before they are swept out."""

CROWD = 8
"""How many times what one tenant may have waiting an expert's queue may hold in all."""


class Asking(Protocol):
    """Who wants an expert: a `LeaseRequest`, or a `Waiter` that is to move."""

    @property
    def candidates(self) -> Sequence[Choice]: ...
    @property
    def mu(self) -> float: ...
    @property
    def deadline(self) -> float: ...
    @property
    def tenant(self) -> str: ...
    @property
    def bulk(self) -> bool: ...


class Queues:
    """`experts` is replaced by `adopt` when the fleet changes. max_waiting: of one tenant at an expert, of each priority."""

    def __init__(self, residency: Residency, outbox: Outbox, max_waiting: int) -> None:
        self.experts: dict[str, Expert] = {}
        self.waiters: dict[int, Waiter] = {}
        self._by_request: dict[str, list[Waiter]] = {}  # a panel's members have one id
        self._deadlines: list[tuple[float, int]] = []
        self._tickets = count(1)
        self._residency = residency
        self._wanted = residency.wanted
        self._residents = residency.residents
        self._outbox = outbox
        self._max_waiting = max_waiting

    def adopt(self, experts: dict[str, Expert]) -> None:
        """Another fleet: everybody is listed anew; who is bound to an expert that is gone is the caller's to move."""
        for expert in self.experts.values():
            expert.listed.clear()
        self.experts = experts
        for waiter in self.waiters.values():
            self._list(waiter)

    # What waiting costs

    def wait_s(self, expert: Expert, now: float, ahead: int) -> float:
        """Expected seconds until the expert serves someone with `ahead` others bound to its host before him; health aside."""
        host = expert.host
        if host.place.batching == "together":
            wait = self._batches_wait_s(host, now, ahead)
        elif host.serving:
            if host.leases + ahead < host.limit and not expert.windows and expert.limit == math.inf:
                return 0.0
            wait = queue_wait_s(host.leases, ahead, host.limit, host.service_s.value)
        else:
            wait = self._residency.wait_s(host, now)
            wait += queue_wait_s(0, ahead, host.limit, host.service_s.value)
        if expert.windows:
            wait = max(wait, expert.rate_wait_s(now, ahead))
        if expert.limit < math.inf:
            ahead = min(ahead, len(expert.queue))
            wait = max(wait, queue_wait_s(expert.leases, ahead, expert.limit, host.service_s.value))
        return wait

    def _batches_wait_s(self, host: Host, now: float, ahead: int) -> float:
        """Until the batch begins that has room for someone behind `ahead` others."""
        service_s, batch = host.service_s.value, int(host.limit)
        if not host.serving:
            return self._residency.wait_s(host, now) + ahead // batch * service_s
        if not host.leases:
            return ahead // batch * service_s
        left_s = max(0.0, host.batch_at + service_s - now)
        if host.batch_at < now:
            return left_s + ahead // batch * service_s
        beyond = ahead - (batch - host.leases)
        return 0.0 if beyond < 0 else left_s + beyond // batch * service_s

    def _weigh(self, weighed: Weighed, expert: Expert, now: float, ahead: int) -> None:
        weighed.waits_s[expert.name] = self.wait_s(expert, now, ahead)
        self._weigh_load(weighed, expert, now)

    def _weigh_load(self, weighed: Weighed, expert: Expert, now: float) -> None:
        host = expert.host
        if not host.at_hand and host not in self._wanted.since:
            weighed.imposed_s[expert.name] = 2.0 * self._residency.worth.disruption_s(host, now)

    def arrival_wait_s(self, expert: Expert, now: float) -> float:
        """The same for a request that arrives now, health included."""
        reopens_s = 0.0 if expert.allows(now) else _reopens_at(expert) - now
        return max(self.wait_s(expert, now, expert.host.queued), reopens_s)

    def weigh(self, names: Iterable[str], now: float) -> Weighed:
        """What each expert that there is would cost a request that arrives now, health included."""
        weighed = Weighed({}, {})
        for name in names:
            if (expert := self.experts.get(name)) is not None:
                weighed.waits_s[name] = self.arrival_wait_s(expert, now)
                self._weigh_load(weighed, expert, now)
        return weighed

    # Which expert: always `bind`'s choice among the prices that are returned with it

    def target(self, asking: Asking, now: float) -> tuple[Expert | None, Weighed]:
        """Whom to bind to, and what was weighed of those that could be bound.

        The best healthy candidate, or else the one that is healthy again soonest; None when all refuse.
        """
        weighed = Weighed({}, {})
        experts = self.experts
        for choice in asking.candidates:
            expert = experts.get(choice.expert)
            if expert is not None and self._takes(expert, asking, now):
                self._weigh(weighed, expert, now, expert.host.queued)
        if weighed.waits_s:
            return self._bind(asking, weighed), weighed
        closed = (e for e in self.known(asking.candidates) if self._refusal(e, asking, now) is None)
        soonest = min(closed, key=_reopens_at, default=None)
        if soonest is not None:
            weighed.waits_s[soonest.name] = self.wait_s(soonest, now, soonest.host.queued)
        return soonest, weighed

    def binding(self, waiter: Waiter, now: float, *, room: Expert | None = None) -> tuple[Expert, Weighed]:
        """Whom a waiter is best bound to as things are now, and what was weighed of those that could be bound.

        It stays where it is when nobody healthy takes it. room: an expert that can serve it at once.
        """
        weighed = Weighed({}, {})
        for expert in self.known(waiter.candidates):
            if expert is waiter.bound:
                possible = self._can_stay(waiter, now)
            else:
                possible = expert.allows(now) if expert is room else self._takes(expert, waiter, now)
            if not possible:
                continue
            if expert is room:
                weighed.waits_s[expert.name] = 0.0
            else:
                self._weigh(weighed, expert, now, waiter.ahead(expert.host))
        if weighed.waits_s:
            return self._bind(waiter, weighed), weighed
        weighed.waits_s[waiter.bound.name] = 0.0
        return waiter.bound, weighed

    def _bind(self, asking: Asking, weighed: Weighed) -> Expert:
        candidates, waits_s = asking.candidates, weighed.waits_s
        if len(waits_s) < len(candidates):
            candidates = [choice for choice in candidates if choice.expert in waits_s]
        return self.experts[bind(candidates, weighed.prices_s, asking.mu)]

    def _takes(self, expert: Expert, asking: Asking, now: float) -> bool:
        """Whether it is healthy and could serve one more by the deadline, as far as that is certain."""
        if not expert.allows(now) or self._is_full(expert, asking):
            return False
        return not expert.windows or expert.rate_wait_s(now, expert.host.queued) <= asking.deadline - now

    def _is_full(self, expert: Expert, asking: Asking) -> bool:
        """A tenant that has too many waiting, or bulk work, is no reason to refuse the others."""
        queue, most = expert.queue, self._max_waiting
        if len(queue) < most:
            return False
        return len(queue) >= CROWD * most or queue.count(asking.tenant, bulk=asking.bulk) >= most

    def _can_stay(self, waiter: Waiter, now: float) -> bool:
        """The same for who is in its queue, where others who came earlier may have been moved since."""
        expert = waiter.bound
        if not expert.allows(now):
            return False
        return not expert.windows or expert.rate_wait_s(now, waiter.ahead(expert.host)) <= waiter.deadline - now

    def refusal(self, asking: Asking, now: float) -> SwitchyardError:
        """Why nobody takes the request; 429 with the shortest wait where waiting helps."""
        refusals = [r for e in self.known(asking.candidates) if (r := self._refusal(e, asking, now)) is not None]
        limited = [refusal for refusal in refusals if isinstance(refusal, RateLimited)]
        if limited:
            return min(limited, key=lambda refusal: refusal.retry_after_s)
        return refusals[0] if refusals else NoCapacity("none of the experts that could answer is there any more")

    def _refusal(self, expert: Expert, asking: Asking, now: float) -> SwitchyardError | None:
        """Why the expert can't take one more that must be served by the deadline, where that is certain."""
        name, queued, deadline = expert.name, expert.host.queued, asking.deadline
        if self._is_full(expert, asking):
            return RateLimited(f"too many requests wait for '{name}'", retry_after_s=self.wait_s(expert, now, queued))
        if (rate_wait_s := expert.rate_wait_s(now, queued)) > deadline - now:
            return RateLimited(f"'{name}' has had its requests of this minute", retry_after_s=rate_wait_s)
        if (held_s := expert.breaker.held_until - now) > deadline - now:
            return RateLimited(f"'{name}' is rate-limited where it runs", retry_after_s=held_s)
        if (backoff_s := expert.host.not_before - now) > deadline - now:
            message = f"'{name}' failed to load, and is not tried again before {backoff_s:.0f} s"
            return ExpertError(name, "not_loaded", message, retry_after_s=backoff_s)
        return None

    def known(self, candidates: Iterable[Choice]) -> Iterator[Expert]:
        """The candidates that are in the fleet."""
        return (self.experts[choice.expert] for choice in candidates if choice.expert in self.experts)

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
        )
        self.waiters[waiter.ticket] = waiter
        self._by_request.setdefault(request.id, []).append(waiter)
        if request.deadline < math.inf:
            self._note_deadline(waiter)
        self._list(waiter)
        self._join(waiter, expert, now)
        for other in self.known(request.candidates):
            if other.windows or not other.allows(now):  # it may be better by then
                free_at = max(_reopens_at(other), now + other.rate_wait_s(now))
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
        for expert in self.known(waiter.candidates):
            expert.listed.discard(waiter)
        served_at = None if served_by is None else served_by.turns
        for turns in waiter.ranks:
            turns.leave(waiter.kind, waiter.ticket, served=turns is served_at)

    def move(self, waiter: Waiter, expert: Expert, now: float) -> None:
        """Bind it to another expert; it keeps its ranks."""
        before = waiter.bound
        self._join(waiter, expert, now)  # first, or a host that both are on would seem unused
        self._leave(waiter, before, now)

    def strike(self, waiter: Waiter, host: Host) -> None:
        """The host's experts are no candidates of this waiter any more."""
        gone = {expert.name for expert in host.experts}
        waiter.candidates = tuple(choice for choice in waiter.candidates if choice.expert not in gone)
        for expert in host.experts:
            expert.listed.discard(waiter)

    def _join(self, waiter: Waiter, expert: Expert, now: float) -> None:
        waiter.bound = expert
        expert.join(waiter)
        if not expert.host.serving:
            self._wanted.want(expert.host, now)

    def _leave(self, waiter: Waiter, expert: Expert, now: float) -> None:
        expert.leave(waiter)
        if not expert.host.queued:
            self._residents.left(expert.host, now)

    def _list(self, waiter: Waiter) -> None:
        for expert in self.known(waiter.candidates):
            turns = expert.host.turns
            if turns not in waiter.ranks:
                waiter.ranks[turns] = turns.rank(waiter.kind, waiter.ticket)
            expert.listed.add(waiter)

    def still_waiting(self, waiters: Iterable[Waiter]) -> Iterator[Waiter]:
        """Those of a snapshot who still wait when their turn comes: moving one may serve another."""
        return (waiter for waiter in tuple(waiters) if waiter.ticket in self.waiters)

    def position(self, request_id: str, now: float) -> Position | None:
        """Of those who wait for the request (a panel's members), the one who is expected to wait longest; None without any."""
        positions = (self._position(waiter, now) for waiter in self._by_request.get(request_id, ()))
        return max(positions, key=lambda position: position.estimate_s, default=None)

    def _position(self, waiter: Waiter, now: float) -> Position:
        ahead = waiter.ahead(waiter.bound.host)
        return Position(waiter.bound.name, ahead, self.wait_s(waiter.bound, now, ahead))

    def status(self, expert: Expert, now: float) -> ExpertStatus:
        host = expert.host
        own = expert.name == host.name
        return ExpertStatus(
            expert=expert.name,
            state=host.state,
            leases=expert.leases,
            waiting=len(expert.queue),
            expected_wait_s=self.arrival_wait_s(expert, now),
            breaker=expert.breaker.state(now),
            memory_bytes=host.memory_bytes if own and host in self._residents.hosts else 0,
            loads=host.loads,
            last_error=host.last_error,
            prefetch_hits=host.prefetch_hits if own else 0,
            prefetch_misses=host.prefetch_misses if own else 0,
            asleep_bytes=host.asleep_bytes if own and host in self._residents.sleepers.hosts else 0,
        )

    # Who is next

    def next_for(self, host: Host, now: float) -> tuple[Waiter, Expert] | None:
        """The first in rank that one of the host's experts should serve now, if any has room."""
        heads = [(head, expert) for expert in host.experts if (head := self._head(expert, now)) is not None]
        return min(heads, key=lambda pair: pair[0].ranks[host.turns], default=None)

    def _head(self, expert: Expert, now: float) -> Waiter | None:
        if not expert.has_room(now):
            if expert.listed and (rate_wait_s := expert.rate_wait_s(now)) > 0:
                self._outbox.wake_at(now + rate_wait_s, expert.host)
            return None
        own, turns = self._own_head(expert, now), expert.host.turns
        if expert.breaker.allows(now):
            for waiter in islice(expert.listed, SCAN if own is None else SCAN_BESIDE):
                if own is not None and waiter.ranks[turns] >= own.ranks[turns]:
                    break
                if waiter.bound is not expert and self._rather(waiter, expert, now):
                    return waiter
        elif expert.listed and not expert.breaker.probing:
            self._outbox.wake_at(expert.breaker.open_until, expert.host)
        return own

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
        if self._can_stay(waiter, now):  # most would rather wait, and need no look at their other candidates
            gained = waiter.utilities[expert.place.expert] - waiter.utilities[waiter.bound.place.expert]
            if waiter.mu:
                gained += waiter.mu * self.wait_s(waiter.bound, now, waiter.ahead(waiter.bound.host))
            if gained <= 0.0:
                return False
        return self.binding(waiter, now, room=expert)[0] is expert

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


def _reopens_at(expert: Expert) -> float:
    return max(-math.inf if expert.breaker.closed else expert.breaker.open_until, expert.host.not_before)
