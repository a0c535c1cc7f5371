"""The scheduler's single-writer state machine: events in (each with its time), actions out. Pure: no I/O, no clock, no event loop.

    core = Core(places, budget_bytes=4_000_000_000, now=now)
    core.acquire(request, now)              # a Lease at once, or a Waiter whose Grant or Refuse comes later
    core.take_actions()                     # what the driver is to do: Load(host, generation), Stop(host), Grant, ...
    core.loaded(host, generation, endpoint, memory_bytes, now)

A request is bound to the candidate with the highest `utility - mu * expected wait` (`routers.policy.bind`). When that one has no
place free, the request waits, bound to it and counted in its waits from then on, so that a burst doesn't herd. It is served by
whichever of its candidates first becomes the best for it: each time an expert has room, the oldest waiter that is bound to it, or
would now rather have it than wait for its own, gets it (`queues.py`); one that is better off elsewhere by then moves there, so that
a lease is always for the expert that `bind` chooses under the waits it names. What is in memory is decided in `residency.py`, who
is healthy in `health.py`: requests bound to an unhealthy expert move when they can, and those that have nowhere to go probe it.

One writer: whoever calls these methods calls them one after the other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from itertools import count, islice

from orchestrator.errors import DeadlineExceeded, ExpertError, NoCapacity, SwitchyardError, UnknownModel
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
from orchestrator.scheduler.prefetch import Prefetcher
from orchestrator.scheduler.queues import Queues
from orchestrator.scheduler.residency import Residency
from orchestrator.scheduler.roster import Roster, make_roster
from orchestrator.scheduler.rules import Rules, SwitchyardRules
from orchestrator.scheduler.state import Action, Expert, Grant, Host, Outbox, Refuse, Waiter
from orchestrator.types import Endpoint

MAX_WAITING = 1000
REBOUND = 64
"""How many of those who wait for a host look elsewhere when it leaves."""

_FAILED_TO_LOAD = LeaseOutcome(ok=False, duration_s=0.0)


class Core:
    """`uniform` draws from [0, 1) for jitter; `max_waiting` bounds each expert's queue. Raises `ConfigError`."""

    def __init__(
        self,
        places: Sequence[Place],
        budget_bytes: int,
        now: float,
        *,
        asleep_budget_bytes: int = 0,
        rules: Rules | None = None,
        max_waiting: int = MAX_WAITING,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = Outbox()
        self._rules = rules or SwitchyardRules()
        self._residency = Residency(budget_bytes, asleep_budget_bytes, self._outbox, self._rules)
        self._residents = self._residency.residents
        self._prefetcher = Prefetcher()
        self._queues = Queues(self._residency, self._outbox, max_waiting)
        self._roster = Roster({}, {})
        self._leases: dict[str, tuple[Expert, Host, int, bool]] = {}
        self._lease_numbers = count(1)
        self._uniform = uniform
        self._closed = False
        self.reconfigure(places, budget_bytes, frozenset(), now)

    # Requests

    def acquire(self, request: LeaseRequest, now: float) -> Lease | Waiter:
        """A lease when there is room, else a waiter. Raises what `Scheduler.acquire` raises, as far as it is known now."""
        if self._closed:
            raise NoCapacity("the service is shutting down")
        if now >= request.deadline:
            raise DeadlineExceeded("the request's deadline has passed")
        if self._residency.worth.note(request.candidates, request.mu, self._roster.experts, now):
            self._settle(now)
        expert, weighed = self._queues.target(request, now)
        if expert is None:
            raise self._queues.refusal(request, now)
        if (
            not expert.queue
            and expert.has_room(now)
            and expert.breaker.admits(now)
            and self._may_serve(expert, None, now)
        ):
            lease = self._lease(expert, request.id, request.session, now, now, weighed)
            if request.session is not None:
                self._prefetch(now)
            return lease
        waiter = self._queues.add(request, expert, now)
        self._dispatch(expert.host, now)
        self._settle(now, follows=False)
        return waiter

    def release(self, lease: Lease, outcome: LeaseOutcome, now: float) -> None:
        """Raises ValueError for a lease that was given back before."""
        held = self._leases.pop(lease.id, None)
        if held is None:
            raise ValueError(f"the lease {lease.id} was given back before")
        expert, host, generation, probe = held
        if generation == host.generation:
            host.learn(outcome, now)
            host.leases -= 1
            expert.leases -= 1
            if not host.leases:
                self._residents.vacated(host, now)
        if expert.breaker.record(outcome, now, probe=probe):
            self._rebind(expert, now)
        if not host.leases and self._residency.leaves(host, now):  # before the next batch begins
            self._settle(now)
        if self._queues.waiters:
            self._dispatch(host, now)
        unused = not host.leases and host.state in {"ready", "draining"}
        if unused:
            self._residents.unused(host, now)
        self._settle(now, follows=unused or self._residency.leaves(host, now))

    def cancel(self, waiter: Waiter, now: float) -> None:
        """It went away before it had its answer."""
        if waiter.ticket in self._queues.waiters:
            self._queues.remove(waiter, now)
            self._settle(now)

    def tick(self, now: float) -> None:
        """Time has passed: call it at `next_wake`, or whenever."""
        follows = False
        for waiter in self._queues.overdue(now):
            self._refuse(waiter, DeadlineExceeded("no expert was free before the request's deadline"), now)
            follows = True
        for host in self._outbox.due(now):
            self._residents.expire(host, now)
            self._dispatch(host, now)
            follows |= not host.serving or self._residency.leaves(host, now)
        self._settle(now, follows=follows)

    # What became of hosts. generation: as in the action; what is late is ignored

    def loaded(self, host: Host, generation: int, endpoint: Endpoint, memory_bytes: int, now: float) -> None:
        """A launch or a wake has succeeded. memory_bytes: as measured; 0 when it can't be."""
        if host.state != "loading" or host.generation != generation:
            return  # it is being stopped already, or has been
        for drained in self._residents.loaded(host, endpoint, memory_bytes, now):
            self._rebind_all(drained, now)
        self._dispatch(host, now)
        self._residents.expire(host, now)
        self._settle(now)

    def load_failed(self, host: Host, generation: int, reason: str, now: float, *, detail: str = "") -> None:
        """A launch has failed. reason: may be shown to clients. detail: what operators are told instead."""
        if host.state == "loading" and host.generation == generation:
            self._give_up(host, reason, detail or reason, now)
            self._settle(now)

    def slept(self, host: Host, generation: int, kept_bytes: int, now: float) -> None:
        """A server has fallen asleep. kept_bytes: of the machine's memory, as measured; 0 when it can't be."""
        if host.state == "falling_asleep" and host.generation == generation and not host.stopping:
            self._residents.slept(host, kept_bytes, now)
            self._settle(now)

    def stopped(self, host: Host, now: float) -> None:
        """A server, or its launch, has ended as asked, and its memory is back."""
        self._residents.gone(host, now)
        self._let_in_after(host)
        self._settle(now)

    def died(self, host: Host, reason: str, now: float) -> None:
        """A server has ended unasked. Its leases are lost; whoever holds them will notice, and release them."""
        if host in self._residents.alive and (host.state != "loading" or host.waking) and not host.stopping:
            self._residents.died(host, reason, now)
            self._let_in_after(host)
            self._rebind_all(host, now)
            self._settle(now)

    # What operators want

    def unload(self, name: str, now: float) -> Host | None:
        """Drain the expert's host; returns it when there is an end to wait for. Raises `UnknownModel`."""
        host = self.expert(name).host
        host.dismissed = not host.queued
        self._residency.wanted.forget(host)
        if host.state in {"cold", "remote"}:
            self._settle(now)
            return None
        self._residents.drain(host, now)
        self._rebind_all(host, now)
        self._settle(now)
        return host

    def reconfigure(
        self,
        places: Sequence[Place],
        budget_bytes: int,
        changed: frozenset[str],
        now: float,
        *,
        asleep_budget_bytes: int | None = None,
    ) -> None:
        """Take over another fleet. Raises `ConfigError`, and then nothing changed.

        changed: hosts that must be launched anew. asleep_budget_bytes: None leaves it as it is.
        """
        old, sleepers = self._roster, self._residents.sleepers
        asleep_budget = sleepers.budget_bytes if asleep_budget_bytes is None else asleep_budget_bytes
        alive = {host.name: host for host in self._residents.alive}
        self._roster = new = make_roster(old, alive, places, budget_bytes, asleep_budget, changed, self._uniform)
        self._residents.budget_bytes, sleepers.budget_bytes = budget_bytes, asleep_budget
        self._queues.adopt(new.experts)
        for host in old.hosts.values():
            if new.hosts.get(host.name) is not host:
                host.retired = True
                self._residency.wanted.forget(host)
                self._residency.worth.forget(host, new.hosts.values())
                self._residents.drain(host, now)
        for waiter in self._queues.still_waiting(self._queues.waiters.values()):
            if new.experts.get(waiter.bound.name) is not waiter.bound:
                self._move_on(waiter, NoCapacity("the experts that could have answered were removed"), now)
        for drained in self._residents.shrink(now):
            self._rebind_all(drained, now)
        self._residents.trim(now)
        for host in new.hosts.values():
            self._residents.expire(host, now)
            self._dispatch(host, now)
        self.tick(now)
        self._settle(now)

    def close(self, now: float) -> None:
        """Refuse whoever waits or comes, and stop every server, its leases notwithstanding."""
        self._closed = True
        for waiter in self._queues.still_waiting(self._queues.waiters.values()):
            self._refuse(waiter, NoCapacity("the service is shutting down"), now)
        for host in self._residents.alive:
            self._residents.drain(host, now)
            self._residents.stop(host)

    # Questions

    @property
    def next_wake(self) -> float:
        """When `tick` has something to do; infinity when never."""
        return min(self._outbox.wake, self._queues.next_deadline)

    def take_actions(self) -> list[Action]:
        """What is to be done, once."""
        actions, self._outbox.actions = self._outbox.actions, []
        return actions

    def take_wanted(self) -> list[Host]:
        """Whose load somebody has begun to wait for since this was last asked, and waits for still."""
        wanted, self._outbox.wanted = self._outbox.wanted, {}
        return [host for host in wanted if host.state == "cold"]

    @property
    def hosts(self) -> dict[str, Host]:
        return self._roster.hosts

    def expert(self, name: str) -> Expert:
        """Raises `UnknownModel`."""
        if name not in self._roster.experts:
            raise UnknownModel(f"no expert is named '{name}'")
        return self._roster.experts[name]

    def weigh(self, names: Iterable[str], now: float) -> Weighed:
        return self._queues.weigh(names, now)

    def position(self, request_id: str, now: float) -> Position | None:
        return self._queues.position(request_id, now)

    @property
    def memory(self) -> MemoryStatus:
        residents, sleepers = self._residents, self._residents.sleepers
        return MemoryStatus(residents.budget_bytes, residents.used_bytes, sleepers.budget_bytes, sleepers.used_bytes)

    def status(self, now: float) -> tuple[ExpertStatus, ...]:
        return tuple(self._queues.status(expert, now) for expert in self._roster.experts.values())

    # Transitions

    def _lease(
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
        lease = Lease(f"{request_id}/{next(self._lease_numbers)}", expert.name, host.endpoint, now - arrived, weighed)
        self._leases[lease.id] = (expert, host, host.generation, expert.breaker.begin())
        return lease

    def _dispatch(self, host: Host, now: float) -> None:
        """Give out what room the host has, each time to whom `bind` would give it now."""
        while host.serving and not host.full(now) and (pair := self._queues.next_for(host, now)) is not None:
            waiter, expert = pair
            if not self._may_serve(expert, waiter, now):
                return
            best, weighed = self._queues.binding(waiter, now, room=expert)
            if best is not expert:  # things have changed since it was bound
                self._move(waiter, best, now)
                continue
            lease = self._lease(expert, waiter.request_id, waiter.session, waiter.arrived, now, weighed)
            self._queues.remove(waiter, now, served_by=host)  # after that, or the host would seem unused
            self._outbox.actions.append(Grant(waiter, lease))

    def _may_serve(self, expert: Expert, waiter: Waiter | None, now: float) -> bool:
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
            for host in [host for host in self._roster.hosts.values() if host.queued]:
                self._dispatch(host, now)

    def _settle(self, now: float, *, follows: bool = True) -> None:
        """Plan residency until nothing follows any more. follows: whether something may, beyond whom somebody wants anew."""
        if self._closed:  # what stops now makes room for nobody
            return
        if self._rules.keeps_order:
            self._serve_in_order(now)
        elif not follows and not self._residency.wanted.has_news:
            return
        while plan := self._residency.plan(now):
            for host in plan.drained:
                self._rebind_all(host, now)
            for host in plan.restored:
                self._dispatch(host, now)
            for host, reason in plan.impossible:
                self._give_up(host, reason, reason, now)
        if self._rules.keeps_order:  # who was blocked until a load began
            self._serve_in_order(now)
        self._prefetch(now)

    def _prefetch(self, now: float) -> None:
        if self._rules.prefetches and now >= self._prefetcher.look_at:
            self._residency.prefetch(self._roster.hosts.values(), self._prefetcher, now)

    def _rebind(self, expert: Expert, now: float, *, at_most: int | None = None) -> None:
        """Something happened to the expert: whoever is bound to it and better off elsewhere moves."""
        for waiter in self._queues.still_waiting(islice(expert.queue, at_most)):
            if len(waiter.candidates) == 1:
                continue
            better, _ = self._queues.binding(waiter, now)
            if better is not waiter.bound:
                self._move(waiter, better, now)

    def _let_in_after(self, host: Host) -> None:
        """Its server is gone: whoever takes its name may be loaded."""
        successor = self._roster.hosts.get(host.name)
        if successor is not None and successor.predecessor is host:
            successor.predecessor = None

    def _rebind_all(self, host: Host, now: float) -> None:
        """It is in memory no more. Those far behind are looked at when others have room."""
        for expert in host.experts:
            self._rebind(expert, now, at_most=REBOUND)

    def _give_up(self, host: Host, reason: str, detail: str, now: float) -> None:
        """The host could not be loaded: its waiters go to their other candidates, or hear why not."""
        self._residents.failed(host, detail, now)
        for expert in host.experts:
            expert.breaker.record(_FAILED_TO_LOAD, now)
        for waiter in self._queues.still_waiting(waiter for expert in host.experts for waiter in expert.queue):
            self._queues.strike(waiter, host)
            self._move_on(waiter, ExpertError(waiter.bound.name, "not_loaded", reason), now)

    def _move_on(self, waiter: Waiter, error: SwitchyardError, now: float) -> None:
        """Away from where it is bound, to the best of its candidates; without any, the error is its answer."""
        target, _ = self._queues.target(waiter, now)
        if target is None:
            self._refuse(waiter, error, now)
        else:
            self._move(waiter, target, now)

    def _move(self, waiter: Waiter, expert: Expert, now: float) -> None:
        self._queues.move(waiter, expert, now)
        self._dispatch(expert.host, now)

    def _refuse(self, waiter: Waiter, error: SwitchyardError, now: float) -> None:
        self._queues.remove(waiter, now)
        self._outbox.actions.append(Refuse(waiter, error))
