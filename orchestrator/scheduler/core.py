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

One core serves a cluster: an expert may have replicas on several nodes, each with its own memory, and nodes come, go and are lost.
Here is what can happen; what follows from it is in `moves.py`, and what other experts and nodes change, in `membership.py`.

One writer: whoever calls these methods calls them one after the other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from orchestrator.errors import DeadlineExceeded, NoCapacity, UnknownModel
from orchestrator.scheduler.actions import Action, Outbox
from orchestrator.scheduler.base import (
    UNUSED,
    ExpertStatus,
    Lease,
    LeaseOutcome,
    LeaseRequest,
    MemoryStatus,
    NodeMemory,
    Place,
    Position,
    Weighed,
)
from orchestrator.scheduler.membership import Membership
from orchestrator.scheduler.moves import Moves
from orchestrator.scheduler.nodes import Nodes
from orchestrator.scheduler.queues import Queues
from orchestrator.scheduler.rules import Rules, SwitchyardRules
from orchestrator.scheduler.state import Expert, Host, Replicas, Waiter, host_key
from orchestrator.scheduler.weighing import NO_HOSTS, Weighing
from orchestrator.types import Endpoint

MAX_WAITING = 1000


class Core:
    """budget_bytes, asleep_budget_bytes: of this machine; nodes: of others. Raises `ConfigError`.

    `uniform` draws from [0, 1) for jitter; `max_waiting`, at least 1, bounds each expert's queue.
    """

    def __init__(
        self,
        places: Sequence[Place],
        budget_bytes: int,
        now: float,
        *,
        asleep_budget_bytes: int = 0,
        nodes: Mapping[str, NodeMemory] | None = None,
        rules: Rules | None = None,
        max_waiting: int = MAX_WAITING,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        rules = rules or SwitchyardRules()
        self._outbox = Outbox()
        self._nodes = Nodes({"": NodeMemory(budget_bytes, asleep_budget_bytes)}, self._outbox, rules)
        self._weighing = Weighing(self._nodes, max_waiting)
        self._queues = Queues(self._nodes, self._weighing, self._outbox)
        self._moves = Moves(self._nodes, self._weighing, self._queues, self._outbox, rules)
        self._leases = self._moves.leases
        self._membership = Membership(self._nodes, self._queues, self._moves, uniform)
        self.reconfigure(places, budget_bytes, frozenset(), now, nodes=nodes)

    # Requests

    def acquire(self, request: LeaseRequest, now: float) -> Lease | Waiter:
        """A lease when there is room, else a waiter. Raises what `Scheduler.acquire` raises, as far as it is known now."""
        if self._moves.closed:
            raise NoCapacity("the service is shutting down")
        if now >= request.deadline:
            raise DeadlineExceeded("the request's deadline has passed")
        worth = self._nodes.worth
        if worth.note(request.candidates, request.mu, self._moves.roster.experts, now):
            self._outbox.news.update(dict.fromkeys(worth.noted))
            self._moves.settle(now)
        struck = self._weighing.unreachable(request) if request.unreachable else NO_HOSTS
        expert, weighed = self._weighing.target(request, now, struck)
        if expert is None:
            raise self._weighing.refusal(request, now, struck)
        has_room = expert.is_free(now) or (not expert.awaited and expert.has_room(now) and expert.breaker.admits(now))
        if has_room and self._moves.may_serve(expert, None, now):
            lease = self._moves.lease(expert, request.id, request.session, now, now, weighed)
            if request.session is not None:
                self._moves.prefetch(now)
            return lease
        waiter = self._queues.add(request, expert, now)
        if struck:
            self._queues.strike(waiter, struck)
        self._moves.dispatch(expert.host, now)
        self._moves.settle(now)
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
                self._nodes.of(host).residents.vacated(host, now)
        if expert.breaker.record(outcome, now, probe=probe):
            self._moves.rebind(expert, now)
        if not host.leases and self._moves.leaves(host, now):  # before the next batch begins
            self._moves.settle(now, host)
        if self._queues.waiters:
            self._moves.dispatch(host, now)
        unused = not host.leases and host.state in {"ready", "draining"}
        if unused:
            self._nodes.of(host).residents.unused(host, now)
        self._moves.settle(now, host if unused or self._moves.leaves(host, now) else None)

    def cancel(self, waiter: Waiter, now: float) -> None:
        """It went away before it had its answer."""
        if waiter.ticket in self._queues.waiters:
            self._queues.remove(waiter, now)
            self._moves.settle(now, waiter.bound.host)

    def tick(self, now: float) -> None:
        """Time has passed: call it at `next_wake`, or whenever."""
        for waiter in self._queues.overdue(now):
            self._moves.refuse(waiter, DeadlineExceeded("no expert was free before the request's deadline"), now)
            self._outbox.news[waiter.bound.host.node] = None
        for host in self._outbox.due(now):
            if host.buried:
                continue
            self._nodes.of(host).residents.expire(host, now)
            self._moves.dispatch(host, now)
            if not host.serving or self._moves.leaves(host, now):
                self._outbox.news[host.node] = None
        self._moves.settle(now)

    # What became of hosts. generation: as in the action; what is late is ignored

    def loaded(self, host: Host, generation: int, endpoint: Endpoint, memory_bytes: int, now: float) -> None:
        """A launch or a wake has succeeded. memory_bytes: as measured; 0 when it can't be."""
        if host.state != "loading" or host.generation != generation:
            return  # it is being stopped already, or has been
        drained = self._nodes.of(host).residents.loaded(host, endpoint, memory_bytes, now)
        self._moves.is_ready(host, drained, now)

    def load_failed(self, host: Host, generation: int, reason: str, now: float, *, detail: str = "") -> None:
        """A launch has failed. reason: may be shown to clients. detail: what operators are told instead."""
        if host.state == "loading" and host.generation == generation:
            others = [other for other in host.replicas if other.state == "cold"] if host.broken else []
            self._moves.give_up([host, *others], reason, detail or reason, now)
            self._moves.settle(now, host)

    def slept(self, host: Host, generation: int, kept_bytes: int, now: float) -> None:
        """A server has fallen asleep. kept_bytes: of the machine's memory, as measured; 0 when it can't be."""
        if host.state == "falling_asleep" and host.generation == generation and not host.stopping:
            self._nodes.of(host).residents.slept(host, kept_bytes, now)
            self._moves.settle(now, host)

    def stopped(self, host: Host, now: float) -> None:
        """A server, or its launch, has ended as asked, and its memory is back."""
        if host.buried:
            return
        self._nodes.of(host).residents.gone(host, now)
        self._moves.let_in_after(host)
        self._moves.settle(now, host)

    def died(self, host: Host, reason: str, now: float) -> None:
        """A server has ended unasked. Its leases are lost; whoever holds them will notice, and release them."""
        launching = host.state == "loading" and not host.waking
        if host.state not in {"cold", "remote"} and not launching and not host.stopping:
            self._nodes.of(host).residents.died(host, reason, now)
            self._moves.let_in_after(host)
            self._moves.rebind_all(host, now)
            self._moves.settle(now, host)

    # What became of nodes

    def lost(self, node: str, reason: str, now: float) -> None:
        """It can't be reached: its servers count as dead, its leases as lost, and nothing is loaded there until it is found.

        Whoever waited for it moves to other replicas or candidates, or hears why not. Raises KeyError for a node that is none, and
        ValueError for this machine.
        """
        self._membership.lose(node, reason, now)
        self._moves.settle(now)

    def found(self, node: str, now: float) -> None:
        """It is there again, with nothing in its memory. Raises KeyError for a node that is none."""
        self._membership.find(node, now)
        self._moves.settle(now)

    def adopt(
        self, name: str, node: str, endpoint: Endpoint, memory_bytes: int, now: float, hold: Lease | None = None
    ) -> Host | None:
        """The expert's server has been running there all along, as a scheduler before this one has left it.

        None when there is no use for it: it is then to be stopped. memory_bytes: as measured; 0 when it can't be. hold: a lease
        that keeps it in memory and takes nobody's place.
        """
        if (host := self._adoptable(name, node)) is None:
            return None
        drained = self._nodes.of(host).residents.adopt(host, endpoint, memory_bytes, now)
        if hold is not None and self.restore(hold, now):
            host.held = 1
        self._moves.is_ready(host, drained, now)
        return host

    def let_go(self, hold: Lease, now: float) -> None:
        """The server that was adopted with this hold is kept no longer than others."""
        _, host, generation, _ = self._leases[hold.id]
        if generation == host.generation:
            host.held = 0
        self.release(hold, UNUSED, now)

    def adopt_asleep(self, name: str, node: str, kept_bytes: int, now: float) -> Host | None:
        """The same for a server that sleeps. kept_bytes: of its node's memory, as measured; 0 when it can't be."""
        if (host := self._adoptable(name, node)) is None or not host.can_sleep:
            return None
        self._nodes.of(host).residents.adopt_asleep(host, kept_bytes, now)
        self._moves.settle(now, host)
        return host

    def _adoptable(self, name: str, node: str) -> Host | None:
        host = self._moves.roster.hosts.get(host_key(name, node))
        if host is None or host.state != "cold" or host.predecessor is not None or self._moves.closed:
            return None
        return None if node in self._nodes.lost else host

    def restore(self, lease: Lease, now: float) -> bool:
        """Count a lease that somebody still holds from a scheduler before this one. False when its server isn't there any more."""
        there = (e for e in self._moves.roster.experts.get(lease.expert, ()) if e.place.node == lease.node)
        expert = next(there, None)
        if expert is None or lease.id in self._leases:
            return False
        host = expert.host
        if host.state not in {"ready", "draining", "remote"} or host.stopping or host.endpoint != lease.endpoint:
            return False
        host.leases += 1
        expert.leases += 1
        if host.place.holds_weights:
            host.note_use(now)
        self._leases[lease.id] = (expert, host, host.generation, False)
        return True

    # What operators want

    def warm(self, name: str, now: float) -> None:
        """Have it loaded on every node that it is pinned on. Raises `UnknownModel`."""
        for host in [replica.host for replica in self.replicas(name)]:
            if host.pinned and host.loadable and host.node not in self._nodes.lost:
                host.chosen = True
                self._nodes.of(host).wanted.want(host, now)
        self._moves.settle(now)

    def unload(self, name: str, now: float) -> tuple[Host, ...]:
        """Drain the expert's hosts; returns those with an end to wait for. Raises `UnknownModel`."""
        hosts = [replica.host for replica in self.replicas(name)]
        for host in hosts:
            host.dismissed = not host.queued
            self._nodes.of(host).wanted.forget(host)
            self._outbox.news[host.node] = None
        drained = tuple(host for host in hosts if host.state not in {"cold", "remote"})
        for host in drained:
            self._nodes.of(host).residents.drain(host, now)
        for host in drained:
            self._moves.rebind_all(host, now)
        self._moves.settle(now)
        return drained

    def reconfigure(
        self,
        places: Sequence[Place],
        budget_bytes: int,
        changed: frozenset[str],
        now: float,
        *,
        asleep_budget_bytes: int | None = None,
        nodes: Mapping[str, NodeMemory] | None = None,
    ) -> None:
        """Take over another fleet. Raises `ConfigError`, and then nothing changed.

        changed: experts that must be launched anew. asleep_budget_bytes: None leaves it as it is. nodes: all
        beside this machine; None: as they were. One that is lost stays so until it is found.
        """
        self._membership.reconfigure(places, budget_bytes, changed, now, asleep_budget_bytes, nodes)
        self.tick(now)
        self._moves.settle_all(now)

    def close(self, now: float) -> None:
        """Refuse whoever waits or comes, and stop every server, its leases notwithstanding."""
        self._moves.closed = True
        for waiter in self._queues.still_waiting(self._queues.waiters.values()):
            self._moves.refuse(waiter, NoCapacity("the service is shutting down"), now)
        for host in self._nodes.alive:
            self._nodes.of(host).residents.drain(host, now)
            self._nodes.of(host).residents.stop(host)

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
        return [host for host in wanted if host.state == "cold" and not host.retired]

    @property
    def hosts(self) -> dict[str, Host]:
        return self._moves.roster.hosts

    def replicas(self, name: str) -> Replicas:
        """All of them, be their nodes lost. Raises `UnknownModel`."""
        if name not in self._moves.roster.replicas:
            raise UnknownModel(f"no expert is named '{name}'")
        return self._moves.roster.replicas[name]

    def expert(self, name: str, node: str = "") -> Expert:
        """Its replica there, or else its first one. Raises `UnknownModel`."""
        replicas = self.replicas(name)
        return next((replica for replica in replicas if replica.place.node == node), replicas[0])

    def weigh(self, names: Iterable[str], now: float) -> Weighed:
        return self._weighing.weigh(names, now)

    def position(self, request_id: str, now: float) -> Position | None:
        return self._queues.position(request_id, now)

    @property
    def memory(self) -> MemoryStatus:
        return self._nodes.status

    def status(self, now: float) -> tuple[ExpertStatus, ...]:
        """Of every replica."""
        return tuple(
            self._queues.status(expert, now) for all_ in self._moves.roster.replicas.values() for expert in all_
        )
