"""What each candidate of a request would cost in time, and whom to bind it to. A part of the state machine in `core.py`; pure.

    expert, weighed = weighing.target(request, now)
    weighing.binding(waiter, now, room=expert)  # whom it is bound to when it is granted, and the weights that say so

Every replica of every candidate is weighed; of each candidate the cheapest counts, by its wait and what its load would make others
wait. Of those alike the one near who asks is taken, then the one that has least to do. So a cold expert is loaded where it will be
ready first. It is loaded on another node as well once its queue is longer than a load takes: what a load beside others costs is
shared by all who wait for those, since all of them are helped.

Not here: who waits (`queues.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol

from orchestrator.errors import ExpertError, NoCapacity, RateLimited, SwitchyardError
from orchestrator.scheduler.base import LeaseRequest, Weighed
from orchestrator.scheduler.fairness import LAST, Kind
from orchestrator.scheduler.nodes import Nodes
from orchestrator.scheduler.rules import queue_wait_s
from orchestrator.scheduler.state import Expert, Host, Replicas, Waiter
from routers.policy import Choice, bind

FAR_S = 0.001
"""What a replica on another node than who asks costs more."""

TRIED_S = 30.0
"""What a replica on a node where the same request has failed costs more: as long as another takes to load, mostly."""

RETRY_AFTER_S = 2.0
"""For who can't reach any of the experts' nodes now."""

CROWD = 8
"""How many times what one tenant may have waiting an expert's queue may hold in all."""

NO_HOSTS: frozenset[Host] = frozenset()


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
    @property
    def node(self) -> str: ...
    @property
    def tried(self) -> tuple[str, ...]: ...


class Weighing:
    """`experts` are those on nodes that are there. max_waiting: of one tenant at a replica, of each priority."""

    def __init__(self, nodes: Nodes, max_waiting: int) -> None:
        self.experts: dict[str, Replicas] = {}
        self._worth = nodes.worth
        self._residencies = nodes.residencies
        self._max_waiting = max_waiting

    # What waiting costs

    def wait_s(self, expert: Expert, now: float, ahead: int, asking: Asking | None = None) -> float:
        """Expected seconds until the expert serves someone with `ahead` others bound to its host before him; health aside.

        asking: who that is; without, he comes after everybody.
        """
        host = expert.host
        if host.place.batching == "together":
            wait = self._batches_wait_s(host, now, ahead)
        elif host.serving:
            if host.taken + ahead < host.limit and not expert.windows and expert.limit == math.inf:
                return 0.0
            wait = queue_wait_s(host.taken, ahead, host.limit, host.service_s.value)
        else:
            wait = self._residencies[host.place.node].wait_s(host, now)
            wait += queue_wait_s(0, ahead, host.limit, host.service_s.value)
        if expert.windows:
            wait = max(wait, _rate_wait_s(expert, asking, now))
        if expert.limit < math.inf:
            ahead = min(ahead, len(expert.queue))
            wait = max(wait, queue_wait_s(expert.leases, ahead, expert.limit, host.service_s.value))
        return wait

    def _batches_wait_s(self, host: Host, now: float, ahead: int) -> float:
        """Until the batch begins that has room for someone behind `ahead` others."""
        service_s, batch = host.service_s.value, int(host.limit)
        if not host.serving:
            return self._residencies[host.place.node].wait_s(host, now) + ahead // batch * service_s
        if not host.taken:
            return ahead // batch * service_s
        left_s = max(0.0, host.batch_at + service_s - now)
        if host.batch_at < now:
            return left_s + ahead // batch * service_s
        beyond = ahead - (batch - host.taken)
        return 0.0 if beyond < 0 else left_s + beyond // batch * service_s

    def _is_asked_for(self, host: Host) -> bool:
        """It is in memory, or somebody has it loaded."""
        return host.at_hand or host in self._residencies[host.place.node].wanted.since

    def _imposed_s(self, host: Host, now: float) -> float:
        """What its load would make others wait, where nobody has asked for it yet."""
        return 0.0 if self._is_asked_for(host) else 2.0 * self._worth.disruption_s(host, now)

    def _beside(self, asked: Sequence[Expert], now: float) -> _Beside:
        ready_s, queued = math.inf, 0
        for expert in asked:
            host = expert.host
            queued += host.queued
            if ready_s > 0.0:
                ready_s = 0.0 if host.serving else min(ready_s, self._residencies[host.node].wait_s(host, now))
        return _Beside(ready_s if asked else 0.0, queued)

    def _imposed_beside_s(self, host: Host, beside: _Beside, now: float) -> float:
        """The same of a further replica, which is for all who wait for the others, and not needed before the first of them."""
        return min(beside.ready_s, host.reload_s) + 2.0 * self._worth.disruption_s(host, now) / (1 + beside.queued)

    def arrival_wait_s(self, expert: Expert, now: float) -> float:
        """The same for a request that arrives now, health included."""
        reopens_s = 0.0 if expert.allows(now) else reopens_at(expert) - now
        return max(self.wait_s(expert, now, expert.host.queued), reopens_s)

    def weigh(self, names: Iterable[str], now: float) -> Weighed:
        """What each expert that there is would cost a request that arrives now, health included."""
        weighed = Weighed({}, {})
        for name in names:
            used = self._used(self.experts.get(name, ()))
            asked, others = _parted(used, self._is_asked_for)
            beside = self._beside(asked, now)
            each = [(self.arrival_wait_s(e, now), 0.0) for e in asked]
            each += [(self.arrival_wait_s(e, now), self._imposed_beside_s(e.host, beside, now)) for e in others]
            if each:
                _note(weighed, name, *min(each, key=sum))
        return weighed

    # Which expert: always `bind`'s choice among the prices that are returned with it

    def target(self, asking: Asking, now: float, struck: AbstractSet[Host] = NO_HOSTS) -> tuple[Expert | None, Weighed]:
        """Whom to bind to, and what was weighed of those that could be bound.

        The best healthy candidate, or else the one that is healthy again soonest; None when all refuse. struck: hosts that are out.
        """
        weighed = Weighed({}, {})
        cheapest: dict[str, Expert] = {}
        experts = self.experts
        for choice in asking.candidates:
            replicas = experts.get(choice.expert, ())
            if len(replicas) == 1:
                expert = replicas[0]
                if struck and expert.host in struck:
                    continue
                if expert.is_free(now):
                    weighed.waits_s[choice.expert] = 0.0
                elif self._takes(expert, asking, now):
                    self._weigh(weighed, expert, now, expert.host.queued, asking)
                continue
            possible = [e for e in self._used(replicas) if e.host not in struck and self._takes(e, asking, now)]
            if possible:
                cheapest[choice.expert] = self._weigh_replicas(weighed, possible, asking, now)
        if weighed.waits_s:
            return self._bind(asking, weighed, cheapest), weighed
        closed = (e for e in self.known(asking.candidates, struck) if self._refusal(e, asking, now) is None)
        soonest = min(closed, key=reopens_at, default=None)
        if soonest is not None:
            weighed.waits_s[soonest.name] = self.wait_s(soonest, now, soonest.host.queued, asking)
        return soonest, weighed

    def binding(self, waiter: Waiter, now: float, *, room: Expert | None = None) -> tuple[Expert, Weighed]:
        """Whom a waiter is best bound to as things are now, and what was weighed of those that could be bound.

        It stays where it is when nobody healthy takes it. room: an expert that can serve it at once.
        """
        weighed = Weighed({}, {})
        cheapest: dict[str, Expert] = {}
        experts = self.experts
        for choice in waiter.candidates:
            replicas = experts.get(choice.expert, ())
            if len(replicas) == 1:
                expert = replicas[0]
                if not self._may_have(expert, waiter, now, room):
                    continue
                if expert is room:
                    weighed.waits_s[choice.expert] = 0.0
                else:
                    self._weigh(weighed, expert, now, waiter.ahead(expert.host), waiter)
                continue
            possible = [e for e in self._used(replicas) if self._may_have(e, waiter, now, room)]
            if possible:
                cheapest[choice.expert] = self._weigh_replicas(weighed, possible, waiter, now, waiter, room)
        if weighed.waits_s:
            return self._bind(waiter, weighed, cheapest), weighed
        weighed.waits_s[waiter.bound.name] = 0.0
        return waiter.bound, weighed

    def _used(self, replicas: Replicas) -> Replicas:
        """Those in memory, or on the way there, where these are as many as may be at once; else all."""
        most = replicas[0].host.place.spread.most if replicas else None
        if most is None or most >= len(replicas):
            return replicas
        used = tuple(e for e in replicas if e.host.at_hand or e.host in self._residencies[e.host.node].wanted.since)
        return replicas if len(used) < most else used

    def _may_have(self, expert: Expert, waiter: Waiter, now: float, room: Expert | None) -> bool:
        if expert is waiter.bound:
            return self.can_stay(waiter, now)
        if waiter.struck and expert.host in waiter.struck:
            return False
        return expert.allows(now) if expert is room else self._takes(expert, waiter, now)

    def _weigh(self, weighed: Weighed, expert: Expert, now: float, ahead: int, asking: Asking) -> None:
        _note(weighed, expert.place.expert, self.wait_s(expert, now, ahead, asking), self._imposed_s(expert.host, now))

    def _weigh_replicas(
        self,
        weighed: Weighed,
        replicas: Sequence[Expert],
        asking: Asking,
        now: float,
        waiter: Waiter | None = None,
        room: Expert | None = None,
    ) -> Expert:
        """Weigh the cheapest for who asks. waiter: the same, where it has a place already, which it keeps if no other is better."""
        bound = None if waiter is None else waiter.bound
        least_s, alike = math.inf, list[tuple[Expert, float, float]]()
        asked, others = _parted(replicas, self._is_asked_for)
        beside = self._beside(asked, now)
        for number, expert in enumerate((*asked, *others)):
            host, wait_s, imposed_s = expert.host, 0.0, 0.0
            if expert is not room:
                wait_s = self.wait_s(expert, now, host.queued if waiter is None else waiter.ahead(host), asking)
            price_s = wait_s + _far_s(host.place.node, asking)
            if number >= len(asked) and price_s <= least_s:
                imposed_s = self._imposed_beside_s(host, beside, now)
                price_s += imposed_s
            if price_s < least_s:
                least_s, alike = price_s, []
            if price_s == least_s:
                alike.append((expert, wait_s, imposed_s))

        def rank(offer: tuple[Expert, float, float]) -> tuple[bool, bool, float, float]:
            expert, host = offer[0], offer[0].host
            busy = (host.leases + host.queued) / host.limit
            return expert is not room, expert is not bound, busy, self._residencies[host.place.node].fullness

        cheapest, wait_s, imposed_s = alike[0] if len(alike) == 1 else min(alike, key=rank)
        _note(weighed, cheapest.name, wait_s, imposed_s)
        return cheapest

    def _bind(self, asking: Asking, weighed: Weighed, cheapest: dict[str, Expert]) -> Expert:
        """cheapest: of those with several replicas."""
        candidates, waits_s = asking.candidates, weighed.waits_s
        if len(waits_s) < len(candidates):
            candidates = [choice for choice in candidates if choice.expert in waits_s]
        name = bind(candidates, weighed.prices_s, asking.mu)
        return cheapest[name] if name in cheapest else self.experts[name][0]

    def _takes(self, expert: Expert, asking: Asking, now: float) -> bool:
        """Whether it is healthy and could serve one more by the deadline, as far as that is certain."""
        if not expert.allows(now) or self._is_full(expert, asking):
            return False
        return not expert.windows or _rate_wait_s(expert, asking, now) <= asking.deadline - now

    def _is_full(self, expert: Expert, asking: Asking) -> bool:
        """A tenant that has too many waiting, or bulk work, is no reason to refuse the others."""
        queue, most = expert.queue, self._max_waiting
        if len(queue) < most:
            return False
        return len(queue) >= CROWD * most or queue.count(asking.tenant, bulk=asking.bulk) >= most

    def can_stay(self, waiter: Waiter, now: float) -> bool:
        """The same for who is in its queue, where others who came earlier may have been moved since."""
        expert = waiter.bound
        if not expert.allows(now):
            return False
        return not expert.windows or _rate_wait_s(expert, waiter, now) <= waiter.deadline - now

    def refusal(self, asking: Asking, now: float, struck: AbstractSet[Host] = NO_HOSTS) -> SwitchyardError:
        """Why nobody takes the request; 429 with the shortest wait where waiting helps. struck: hosts that can't be reached."""
        refusals = [
            r for e in self.known(asking.candidates, struck) if (r := self._refusal(e, asking, now)) is not None
        ]
        limited = [refusal for refusal in refusals if isinstance(refusal, RateLimited)]
        if limited:
            return min(limited, key=lambda refusal: refusal.retry_after_s)
        if refusals:
            return refusals[0]
        if struck:
            message = "the nodes of the experts that could answer can't be reached from the gateway that was asked"
            return NoCapacity(message, retry_after_s=RETRY_AFTER_S)
        if any(choice.expert in self.experts for choice in asking.candidates):
            return NoCapacity("the nodes of the experts that could answer are lost")
        return NoCapacity("none of the experts that could answer is there any more")

    def _refusal(self, expert: Expert, asking: Asking, now: float) -> SwitchyardError | None:
        """Why the expert can't take one more that must be served by the deadline, where that is certain."""
        name, queued, deadline = expert.name, expert.host.queued, asking.deadline
        if self._is_full(expert, asking):
            wait_s = self.wait_s(expert, now, queued, asking)
            return RateLimited(f"too many requests wait for '{name}'", retry_after_s=wait_s)
        if (rate_wait_s := _rate_wait_s(expert, asking, now)) > deadline - now:
            return RateLimited(f"'{name}' has had its requests of this minute", retry_after_s=rate_wait_s)
        if (held_s := expert.breaker.held_until - now) > deadline - now:
            return RateLimited(f"'{name}' is rate-limited where it runs", retry_after_s=held_s)
        if (backoff_s := expert.host.not_before - now) > deadline - now:
            message = f"'{name}' failed to load, and is not tried again before {backoff_s:.0f} s"
            return ExpertError(name, "not_loaded", message, retry_after_s=backoff_s)
        return None

    def unreachable(self, request: LeaseRequest) -> frozenset[Host]:
        """The hosts of its candidates on nodes that who asks can't reach."""
        return frozenset(e.host for e in self.known(request.candidates) if e.host.node in request.unreachable)

    def known(self, candidates: Iterable[Choice], struck: AbstractSet[Host] = NO_HOSTS) -> Iterator[Expert]:
        """The candidates' replicas that are there, but for those on struck hosts."""
        experts = self.experts
        for choice in candidates:
            for expert in experts.get(choice.expert, ()):
                if not struck or expert.host not in struck:
                    yield expert


class _Beside(NamedTuple):
    """Replicas that are asked for already: in how long the first of them will serve, and how many wait for them."""

    ready_s: float
    queued: int


def _parted(replicas: Sequence[Expert], is_first: Callable[[Host], bool]) -> tuple[list[Expert], list[Expert]]:
    first: list[Expert] = []
    others: list[Expert] = []
    for expert in replicas:
        (first if is_first(expert.host) else others).append(expert)
    return first, others


def _far_s(node: str, asking: Asking) -> float:
    """What a replica on this node costs beside its wait."""
    far_s = 0.0 if node == asking.node else FAR_S
    return far_s + TRIED_S if asking.tried and node in asking.tried else far_s


def _note(weighed: Weighed, name: str, wait_s: float, imposed_s: float) -> None:
    weighed.waits_s[name] = wait_s
    if imposed_s:
        weighed.imposed_s[name] = imposed_s


def _rate_wait_s(expert: Expert, asking: Asking | None, now: float) -> float:
    """Until its `rpm` lets him through, behind those who come before him at any of its replicas."""
    turns = expert.host.turns
    if asking is None:
        rank = LAST
    elif isinstance(asking, Waiter):
        rank = asking.ranks[turns]
    else:
        rank = turns.next_rank(Kind(asking.tenant, asking.bulk))
    return max((window.wait_s(now, window.queue.before(rank)) for window in expert.windows), default=0.0)


def reopens_at(expert: Expert) -> float:
    """When requests are let through to it again."""
    return max(-math.inf if expert.breaker.closed else expert.breaker.open_until, expert.host.not_before)
