"""What follows from an event: leases are granted, waiters move, memory is planned, until nothing follows any more.

    moves.dispatch(host, now)               # who waits gets what room the host has
    moves.settle(now, host)                 # something may follow at its node

A part of the state machine in `core.py`, which says what has happened; pure like it. Not here: whom a waiter is best bound to
(`weighing.py`), who is next (`queues.py`), who comes into memory (`residency.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count, islice

from orchestrator.errors import ExpertError, SwitchyardError
from orchestrator.scheduler.actions import Grant, Outbox, Refuse
from orchestrator.scheduler.base import Lease, LeaseOutcome, Weighed
from orchestrator.scheduler.nodes import Nodes
from orchestrator.scheduler.prefetch import Prefetcher
from orchestrator.scheduler.queues import Queues
from orchestrator.scheduler.roster import Roster
from orchestrator.scheduler.rules import Rules
from orchestrator.scheduler.state import Expert, Host, Waiter
from orchestrator.scheduler.weighing import Weighing

REBOUND = 64
"""How many of those who wait for a host look elsewhere when it leaves."""

_FAILED_TO_LOAD = LeaseOutcome(ok=False, duration_s=0.0)


class Moves:
    """roster: who there is. leases: by id, with the generation of the host, and whether it is a probe. closed: nothing is begun."""

    def __init__(self, nodes: Nodes, weighing: Weighing, queues: Queues, outbox: Outbox, rules: Rules) -> None:
        self.roster = Roster({}, {}, {})
        self.leases: dict[str, tuple[Expert, Host, int, bool]] = {}
        self.closed = False
        self._nodes = nodes
        self._weighing = weighing
        self._queues = queues
        self._outbox = outbox
        self._news = outbox.news
        self._rules = rules
        self._prefetcher = Prefetcher()
        self._lease_numbers = count(1)

    def lease(
        self,
        expert: Expert,
        request_id: str,
        session: str | None,
        arrived: float,
        now: float,
        weighed: Weighed,
    ) -> Lease:
        host = expert.host
        if not host.leases:
            host.batch_at = now
        host.leases += 1
        host.served += 1
        expert.leases += 1
        for window in expert.windows:
            window.add(now)
        if host.place.holds_weights:
            host.note_use(now)
            self._prefetcher.used(host, session, now)
        lease_id = f"{request_id}/{next(self._lease_numbers)}"
        while lease_id in self.leases:  # restored
            lease_id = f"{request_id}/{next(self._lease_numbers)}"
        lease = Lease(lease_id, expert.name, host.endpoint, now - arrived, weighed, host.place.node)
        self.leases[lease.id] = (expert, host, host.generation, expert.breaker.begin())
        return lease

    def dispatch(self, host: Host, now: float) -> None:
        """Give out what room the host has, each time to whom `bind` would give it now."""
        while host.serving and not host.full(now) and (pair := self._queues.next_for(host, now)) is not None:
            waiter, expert = pair
            if not self.may_serve(expert, waiter, now):
                return
            best, weighed = self._weighing.binding(waiter, now, room=expert)
            if best is not expert:  # things have changed since it was bound
                self._move(waiter, best, now)
                continue
            lease = self.lease(expert, waiter.request_id, waiter.session, waiter.arrived, now, weighed)
            self._queues.remove(waiter, now, served_by=expert.host)  # after that, or the host would seem unused
            self._outbox.actions.append(Grant(waiter, lease))

    def may_serve(self, expert: Expert, waiter: Waiter | None, now: float) -> bool:
        """Whether the rules let the expert serve it (None: a newcomer) while others wait."""
        if not self._rules.keeps_order:
            return True
        oldest = self._queues.oldest
        return oldest is None or oldest is waiter or self._rules.may_overtake(expert, oldest, now)

    def _serve_in_order(self, now: float) -> None:
        """Once the oldest has been served, the rules may let hosts serve that were held back."""
        oldest: Waiter | None = None
        while self._queues.oldest is not oldest:
            oldest = self._queues.oldest
            for host in [host for host in self.roster.hosts.values() if host.queued]:
                self.dispatch(host, now)

    def settle(self, now: float, host: Host | None = None) -> None:
        """Plan the residency of nodes with news until nothing follows any more. host: something may follow at its node.

        This ends. A host is loaded once, and given up once for a waiter. Who drains is called back only when nobody waits for the
        one that it drains for, which is cold: its waiters leave it when they are served or refused, or it is given up. Who is moved
        from an expert with room would rather wait for another than have that at once, each time for a better one.
        """
        news = self._news
        if host is not None:
            news[host.place.node] = None
        if self.closed:  # what stops now makes room for nobody
            return
        if self._rules.keeps_order:
            self._serve_in_order(now)
            news.update(dict.fromkeys(self._nodes.memory))
        elif not news:
            return
        while news:
            self._plan(next(iter(news)), now)
        if self._rules.keeps_order:  # who was blocked until a load began
            self._serve_in_order(now)
        self.prefetch(now)

    def settle_all(self, now: float) -> None:
        self._news.update(dict.fromkeys(self._nodes.memory))
        self.settle(now)

    def _plan(self, node: str, now: float) -> None:
        plan = self._nodes.residencies[node].plan(now)  # which takes its news
        for host in plan.drained:
            self.rebind_all(host, now)
        for host in plan.restored:
            self.dispatch(host, now)
        for host, reason in plan.impossible:
            self.give_up((host,), reason, reason, now)
        if plan:
            self._news[node] = None

    def prefetch(self, now: float) -> None:
        if self._rules.prefetches and now >= self._prefetcher.look_at:
            host = self._prefetcher.pick(self.roster.hosts.values(), self._nodes.spare_bytes, now)
            if host is not None:
                self._nodes.of(host).residents.load(host, now)
                host.prefetched = True

    def rebind(self, expert: Expert, now: float, *, at_most: int | None = None) -> None:
        """Something happened to the expert: whoever is bound to it and better off elsewhere moves."""
        for waiter in self._queues.still_waiting(islice(expert.queue, at_most)):
            if len(waiter.candidates) == 1 and len(self.roster.experts.get(expert.name, ())) < 2:
                continue
            better, _ = self._weighing.binding(waiter, now)
            if better is not waiter.bound:
                self._move(waiter, better, now)

    def let_in_after(self, host: Host) -> None:
        """Its server is gone: whoever takes its name may be loaded."""
        successor = self.roster.hosts.get(host.key)
        if successor is not None and successor.predecessor is host:
            successor.predecessor = None

    def rebind_all(self, host: Host, now: float) -> None:
        """It is in memory no more. Those far behind are looked at when others have room."""
        for expert in host.experts:
            self.rebind(expert, now, at_most=REBOUND)

    def give_up(self, hosts: Sequence[Host], reason: str, detail: str, now: float) -> None:
        """They can't be loaded: their waiters go to their other candidates, or hear why not."""
        for host in hosts:
            self._nodes.of(host).residents.failed(host, detail, now)
            for expert in host.experts:
                expert.breaker.record(_FAILED_TO_LOAD, now)
        experts = [expert for host in hosts for expert in host.experts]
        for waiter in self._queues.still_waiting(waiter for expert in experts for waiter in expert.queue):
            self._queues.strike(waiter, hosts)
            self.move_on(waiter, ExpertError(waiter.bound.name, "not_loaded", reason), now)

    def leaves(self, host: Host, now: float) -> bool:
        """It gives way to whoever is next at its node."""
        return host.state == "ready" and self._nodes.of(host).leaves(host, now)

    def move_on(self, waiter: Waiter, error: SwitchyardError, now: float) -> None:
        """Away from where it is bound, to the best of its candidates; without any, the error is its answer."""
        target, _ = self._weighing.target(waiter, now, waiter.struck)
        if target is None:
            self.refuse(waiter, error, now)
        else:
            self._move(waiter, target, now)

    def _move(self, waiter: Waiter, expert: Expert, now: float) -> None:
        before = waiter.bound.host.place.node
        if before != expert.host.place.node:
            self._news[before] = None
        self._queues.move(waiter, expert, now)
        self.dispatch(expert.host, now)

    def refuse(self, waiter: Waiter, error: SwitchyardError, now: float) -> None:
        self._queues.remove(waiter, now)
        self._outbox.actions.append(Refuse(waiter, error))

    def is_ready(self, host: Host, drained: Iterable[Host], now: float) -> None:
        for each in drained:
            self.rebind_all(each, now)
        self.dispatch(host, now)
        self._nodes.of(host).residents.expire(host, now)
        self.settle(now, host)
