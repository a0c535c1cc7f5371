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

One writer: whoever calls these methods calls them one after the other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import count, islice

from orchestrator.errors import DeadlineExceeded, ExpertError, NoCapacity, SwitchyardError, UnknownModel
from orchestrator.scheduler.actions import Action, Grant, Outbox, Refuse
from orchestrator.scheduler.base import (
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
from orchestrator.scheduler.nodes import Nodes
from orchestrator.scheduler.prefetch import Prefetcher
from orchestrator.scheduler.queues import Queues
from orchestrator.scheduler.roster import Roster, make_roster
from orchestrator.scheduler.rules import Rules, SwitchyardRules
from orchestrator.scheduler.state import Expert, Host, Replicas, Waiter, host_key
from orchestrator.scheduler.weighing import Weighing
from orchestrator.types import Endpoint

MAX_WAITING = 1000
REBOUND = 64
"""How many of those who wait for a host look elsewhere when it leaves."""

_FAILED_TO_LOAD = LeaseOutcome(ok=False, duration_s=0.0)


class Core:
    """budget_bytes, asleep_budget_bytes: of this machine; nodes: of others. Raises `ConfigError`.

    `uniform` draws from [0, 1) for jitter; `max_waiting` bounds each expert's queue.
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
        self._outbox = Outbox()
        self._rules = rules or SwitchyardRules()
        self._nodes = Nodes({"": NodeMemory(budget_bytes, asleep_budget_bytes)}, self._outbox, self._rules)
        self._news = self._outbox.news
        self._prefetcher = Prefetcher()
        self._weighing = Weighing(self._nodes, max_waiting)
        self._queues = Queues(self._nodes, self._weighing, self._outbox)
        self._places: Sequence[Place] = ()
        self._roster = Roster({}, {}, {})
        self._leases: dict[str, tuple[Expert, Host, int, bool]] = {}
        self._lease_numbers = count(1)
        self._uniform = uniform
        self._closed = False
        self.reconfigure(places, budget_bytes, frozenset(), now, nodes=nodes)

    # Requests

    def acquire(self, request: LeaseRequest, now: float) -> Lease | Waiter:
        """A lease when there is room, else a waiter. Raises what `Scheduler.acquire` raises, as far as it is known now."""
        if self._closed:
            raise NoCapacity("the service is shutting down")
        if now >= request.deadline:
            raise DeadlineExceeded("the request's deadline has passed")
        worth = self._nodes.worth
        if worth.note(request.candidates, request.mu, self._roster.experts, now):
            self._news.update(dict.fromkeys(worth.noted))
            self._settle(now)
        expert, weighed = self._weighing.target(request, now)
        if expert is None:
            raise self._weighing.refusal(request, now)
        if (
            not expert.awaited
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
        self._settle(now)
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
            self._rebind(expert, now)
        if not host.leases and self._leaves(host, now):  # before the next batch begins
            self._settle(now, host)
        if self._queues.waiters:
            self._dispatch(host, now)
        unused = not host.leases and host.state in {"ready", "draining"}
        if unused:
            self._nodes.of(host).residents.unused(host, now)
        self._settle(now, host if unused or self._leaves(host, now) else None)

    def cancel(self, waiter: Waiter, now: float) -> None:
        """It went away before it had its answer."""
        if waiter.ticket in self._queues.waiters:
            self._queues.remove(waiter, now)
            self._settle(now, waiter.bound.host)

    def tick(self, now: float) -> None:
        """Time has passed: call it at `next_wake`, or whenever."""
        for waiter in self._queues.overdue(now):
            self._refuse(waiter, DeadlineExceeded("no expert was free before the request's deadline"), now)
            self._news[waiter.bound.host.node] = None
        for host in self._outbox.due(now):
            if host.buried:
                continue
            self._nodes.of(host).residents.expire(host, now)
            self._dispatch(host, now)
            if not host.serving or self._leaves(host, now):
                self._news[host.node] = None
        self._settle(now)

    # What became of hosts. generation: as in the action; what is late is ignored

    def loaded(self, host: Host, generation: int, endpoint: Endpoint, memory_bytes: int, now: float) -> None:
        """A launch or a wake has succeeded. memory_bytes: as measured; 0 when it can't be."""
        if host.state != "loading" or host.generation != generation:
            return  # it is being stopped already, or has been
        drained = self._nodes.of(host).residents.loaded(host, endpoint, memory_bytes, now)
        self._is_ready(host, drained, now)

    def load_failed(self, host: Host, generation: int, reason: str, now: float, *, detail: str = "") -> None:
        """A launch has failed. reason: may be shown to clients. detail: what operators are told instead."""
        if host.state == "loading" and host.generation == generation:
            others = [other for other in host.replicas if other.state == "cold"] if host.broken else []
            self._give_up([host, *others], reason, detail or reason, now)
            self._settle(now, host)

    def slept(self, host: Host, generation: int, kept_bytes: int, now: float) -> None:
        """A server has fallen asleep. kept_bytes: of the machine's memory, as measured; 0 when it can't be."""
        if host.state == "falling_asleep" and host.generation == generation and not host.stopping:
            self._nodes.of(host).residents.slept(host, kept_bytes, now)
            self._settle(now, host)

    def stopped(self, host: Host, now: float) -> None:
        """A server, or its launch, has ended as asked, and its memory is back."""
        if host.buried:
            return
        self._nodes.of(host).residents.gone(host, now)
        self._let_in_after(host)
        self._settle(now, host)

    def died(self, host: Host, reason: str, now: float) -> None:
        """A server has ended unasked. Its leases are lost; whoever holds them will notice, and release them."""
        launching = host.state == "loading" and not host.waking
        if host.state not in {"cold", "remote"} and not launching and not host.stopping:
            self._nodes.of(host).residents.died(host, reason, now)
            self._let_in_after(host)
            self._rebind_all(host, now)
            self._settle(now, host)

    # What became of nodes

    def lost(self, node: str, reason: str, now: float) -> None:
        """It can't be reached: its servers count as dead, its leases as lost, and nothing is loaded there until it is found.

        Whoever waited for it moves to other replicas or candidates, or hears why not. Raises KeyError for a node that is none, and
        ValueError for this machine.
        """
        if node in self._nodes.lost:
            return
        alive = self._nodes.lose(node)
        for host in {*alive, *(host for host in self._roster.hosts.values() if host.node == node)}:
            host.lose()
        self._remake(now)
        for host in self._roster.hosts.values():
            if host.node == node:
                host.last_error = reason
        self._settle(now)

    def found(self, node: str, now: float) -> None:
        """It is there again, with nothing in its memory. Raises KeyError for a node that is none."""
        if not self._nodes.find(node):
            return
        self._remake(now)
        self._spread({node}, now)
        self._settle(now)

    def adopt(
        self, name: str, node: str, endpoint: Endpoint, memory_bytes: int, now: float, hold: Lease | None = None
    ) -> Host | None:
        """The expert's server has been running there all along, as a scheduler before this one has left it.

        None when there is no use for it: it is then to be stopped. memory_bytes: as measured; 0 when it can't be. hold: a lease that
        keeps it in memory and takes nobody's place.
        """
        host = self._roster.hosts.get(host_key(name, node))
        if (
            host is None
            or host.state != "cold"
            or node in self._nodes.lost
            or host.predecessor is not None
            or self._closed
        ):
            return None
        drained = self._nodes.of(host).residents.adopt(host, endpoint, memory_bytes, now)
        if hold is not None and self.restore(hold, now):
            host.held = 1
        self._is_ready(host, drained, now)
        return host

    def restore(self, lease: Lease, now: float) -> bool:
        """Count a lease that somebody still holds from a scheduler before this one. False when its server isn't there any more."""
        there = (e for e in self._roster.experts.get(lease.expert, ()) if e.place.node == lease.node)
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

    def _is_ready(self, host: Host, drained: Iterable[Host], now: float) -> None:
        for each in drained:
            self._rebind_all(each, now)
        self._dispatch(host, now)
        self._nodes.of(host).residents.expire(host, now)
        self._settle(now, host)

    # What operators want

    def warm(self, name: str, now: float) -> None:
        """Have it loaded on every node that it is pinned on. Raises `UnknownModel`."""
        for host in [replica.host for replica in self.replicas(name)]:
            if host.pinned and host.loadable and host.node not in self._nodes.lost:
                host.chosen = True
                self._nodes.of(host).wanted.want(host, now)
        self._settle(now)

    def unload(self, name: str, now: float) -> tuple[Host, ...]:
        """Drain the expert's hosts; returns those with an end to wait for. Raises `UnknownModel`."""
        hosts = [replica.host for replica in self.replicas(name)]
        for host in hosts:
            host.dismissed = not host.queued
            self._nodes.of(host).wanted.forget(host)
            self._news[host.node] = None
        drained = tuple(host for host in hosts if host.state not in {"cold", "remote"})
        for host in drained:
            self._nodes.of(host).residents.drain(host, now)
        for host in drained:
            self._rebind_all(host, now)
        self._settle(now)
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
        before = self._nodes.memory
        if asleep_budget_bytes is None:
            asleep_budget_bytes = before[""].asleep_budget_bytes
        if nodes is None:
            nodes = {name: memory for name, memory in before.items() if name}
        memory = {"": NodeMemory(budget_bytes, asleep_budget_bytes), **nodes}
        roster = self._make_roster(places, memory, changed)
        self._places = places
        self._nodes.configure(memory)
        for host in roster.hosts.values():
            host.forgive()
        self._take_over(roster, now)
        for residents in self._nodes.residents:
            for drained in residents.shrink(now):
                self._rebind_all(drained, now)
            residents.trim(now)
        for host in roster.hosts.values():
            self._nodes.of(host).residents.expire(host, now)
            self._dispatch(host, now)
        self._spread(memory.keys() - before.keys(), now)
        self.tick(now)
        self._settle_all(now)

    def _make_roster(
        self, places: Sequence[Place], memory: Mapping[str, NodeMemory], changed: frozenset[str]
    ) -> Roster:
        alive = {host.key: host for host in self._nodes.alive}
        return make_roster(self._roster, alive, places, memory, changed, self._nodes.lost, self._uniform)

    def _remake(self, now: float) -> None:
        """Other nodes are there."""
        self._take_over(self._make_roster(self._places, self._nodes.memory, frozenset()), now)

    def _take_over(self, new: Roster, now: float) -> None:
        """Retire hosts that aren't there any more, and have who waited for them look elsewhere."""
        old, self._roster = self._roster, new
        self._queues.adopt(new)
        for host in old.hosts.values():
            if new.hosts.get(host.key) is not host:
                host.retire()
                residency = self._nodes.of(host)
                residency.wanted.forget(host)
                residency.residents.drain(host, now)
        self._nodes.worth.forget_retired(new.hosts.values())
        for waiter in self._queues.still_waiting(self._queues.waiters.values()):
            name = waiter.bound.name
            if waiter.bound not in new.experts.get(name, ()):
                what = "nodes of the experts that could have answered are lost"
                if name not in new.replicas:
                    what = "experts that could have answered were removed"
                self._move_on(waiter, NoCapacity(f"the {what}"), now)

    def _spread(self, nodes: AbstractSet[str], now: float) -> None:
        """There are more nodes: whoever waits for another replica of what could be there may be better off."""
        for replicas in self._roster.experts.values():
            if len(replicas) > 1 and any(replica.place.node in nodes for replica in replicas):
                for replica in replicas:
                    self._rebind(replica, now, at_most=REBOUND)

    def close(self, now: float) -> None:
        """Refuse whoever waits or comes, and stop every server, its leases notwithstanding."""
        self._closed = True
        for waiter in self._queues.still_waiting(self._queues.waiters.values()):
            self._refuse(waiter, NoCapacity("the service is shutting down"), now)
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
        return self._roster.hosts

    def replicas(self, name: str) -> Replicas:
        """All of them, be their nodes lost. Raises `UnknownModel`."""
        if name not in self._roster.replicas:
            raise UnknownModel(f"no expert is named '{name}'")
        return self._roster.replicas[name]

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
        return tuple(self._queues.status(expert, now) for all_ in self._roster.replicas.values() for expert in all_)

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
        lease_id = f"{request_id}/{next(self._lease_numbers)}"
        while lease_id in self._leases:  # restored
            lease_id = f"{request_id}/{next(self._lease_numbers)}"
        lease = Lease(lease_id, expert.name, host.endpoint, now - arrived, weighed, host.place.node)
        self._leases[lease.id] = (expert, host, host.generation, expert.breaker.begin())
        return lease

    def _dispatch(self, host: Host, now: float) -> None:
        """Give out what room the host has, each time to whom `bind` would give it now."""
        while host.serving and not host.full(now) and (pair := self._queues.next_for(host, now)) is not None:
            waiter, expert = pair
            if not self._may_serve(expert, waiter, now):
                return
            best, weighed = self._weighing.binding(waiter, now, room=expert)
            if best is not expert:  # things have changed since it was bound
                self._move(waiter, best, now)
                continue
            lease = self._lease(expert, waiter.request_id, waiter.session, waiter.arrived, now, weighed)
            self._queues.remove(waiter, now, served_by=expert.host)  # after that, or the host would seem unused
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

    def _settle(self, now: float, host: Host | None = None) -> None:
        """Plan the residency of nodes with news until nothing follows any more. host: something may follow at its node."""
        news = self._news
        if host is not None:
            news[host.place.node] = None
        if self._closed:  # what stops now makes room for nobody
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
        self._prefetch(now)

    def _settle_all(self, now: float) -> None:
        self._news.update(dict.fromkeys(self._nodes.memory))
        self._settle(now)

    def _plan(self, node: str, now: float) -> None:
        plan = self._nodes.residencies[node].plan(now)  # which takes its news
        for host in plan.drained:
            self._rebind_all(host, now)
        for host in plan.restored:
            self._dispatch(host, now)
        for host, reason in plan.impossible:
            self._give_up((host,), reason, reason, now)
        if plan:
            self._news[node] = None

    def _prefetch(self, now: float) -> None:
        if self._rules.prefetches and now >= self._prefetcher.look_at:
            host = self._prefetcher.pick(self._roster.hosts.values(), self._nodes.spare_bytes, now)
            if host is not None:
                self._nodes.of(host).residents.load(host, now)
                host.prefetched = True

    def _rebind(self, expert: Expert, now: float, *, at_most: int | None = None) -> None:
        """Something happened to the expert: whoever is bound to it and better off elsewhere moves."""
        for waiter in self._queues.still_waiting(islice(expert.queue, at_most)):
            if len(waiter.candidates) == 1 and len(self._roster.experts.get(expert.name, ())) < 2:
                continue
            better, _ = self._weighing.binding(waiter, now)
            if better is not waiter.bound:
                self._move(waiter, better, now)

    def _let_in_after(self, host: Host) -> None:
        """Its server is gone: whoever takes its name may be loaded."""
        successor = self._roster.hosts.get(host.key)
        if successor is not None and successor.predecessor is host:
            successor.predecessor = None

    def _rebind_all(self, host: Host, now: float) -> None:
        """It is in memory no more. Those far behind are looked at when others have room."""
        for expert in host.experts:
            self._rebind(expert, now, at_most=REBOUND)

    def _give_up(self, hosts: Sequence[Host], reason: str, detail: str, now: float) -> None:
        """They can't be loaded: their waiters go to their other candidates, or hear why not."""
        for host in hosts:
            self._nodes.of(host).residents.failed(host, detail, now)
            for expert in host.experts:
                expert.breaker.record(_FAILED_TO_LOAD, now)
        experts = [expert for host in hosts for expert in host.experts]
        for waiter in self._queues.still_waiting(waiter for expert in experts for waiter in expert.queue):
            self._queues.strike(waiter, hosts)
            self._move_on(waiter, ExpertError(waiter.bound.name, "not_loaded", reason), now)

    def _leaves(self, host: Host, now: float) -> bool:
        """It gives way to whoever is next at its node."""
        return host.state == "ready" and self._nodes.of(host).leaves(host, now)

    def _move_on(self, waiter: Waiter, error: SwitchyardError, now: float) -> None:
        """Away from where it is bound, to the best of its candidates; without any, the error is its answer."""
        target, _ = self._weighing.target(waiter, now, waiter.struck)
        if target is None:
            self._refuse(waiter, error, now)
        else:
            self._move(waiter, target, now)

    def _move(self, waiter: Waiter, expert: Expert, now: float) -> None:
        before = waiter.bound.host.place.node
        if before != expert.host.place.node:
            self._news[before] = None
        self._queues.move(waiter, expert, now)
        self._dispatch(expert.host, now)

    def _refuse(self, waiter: Waiter, error: SwitchyardError, now: float) -> None:
        self._queues.remove(waiter, now)
        self._outbox.actions.append(Refuse(waiter, error))
