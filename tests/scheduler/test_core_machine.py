"""The scheduler's core under random interleavings of everything that can happen to it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestrator.errors import SwitchyardError
from orchestrator.scheduler.actions import Grant, Load, Refuse, Sleep, Stop, Wake
from orchestrator.scheduler.base import Lease, LeaseOutcome, LeaseRequest, NodeMemory, Place
from orchestrator.scheduler.core import Core
from orchestrator.scheduler.rules import Rules, SwitchyardRules
from orchestrator.scheduler.state import Host, Waiter
from orchestrator.types import Endpoint
from routers.policy import Option, Plan, Settings, bind, make_plan, propensity
from tests.support.places import local, persona, remote

BUDGET, ASLEEP_BUDGET = 100, 40
SLEEPERS = (
    local("dozer", 60, concurrency=1, keep_alive_s=5.0, asleep_bytes=20),
    local("napper", 50, concurrency=2, asleep_bytes=30),
    local("snorer", 60, concurrency=2, asleep_bytes=20),
)
FLEET = (
    local("small", 30, concurrency=2),
    local("medium", 60, concurrency=1, keep_alive_s=5.0),
    local("large", 90, concurrency=3),
    local("flash", 40, concurrency=2, keep_alive_s=0.0),
    local("unknown", None, concurrency=1),
    replace(local("batched", 35, concurrency=3), batching="together"),
    *SLEEPERS,
    persona("poet", "small"),
    persona("clerk", "large", concurrency=1),
    remote("api"),
    remote("slow-api", concurrency=2, rpm=3),
)
NODES = {"n1": NodeMemory(100, 40), "n2": NodeMemory(90, 20), "n3": NodeMemory(120)}
SPREAD = (
    *(replace(local("small", 30, concurrency=2), node=node) for node in NODES),
    *(replace(persona("poet", "small"), node=node) for node in NODES),
    *(replace(local("medium", 60, concurrency=1, keep_alive_s=5.0, rpm=5), node=node) for node in NODES),
    *(replace(local("large", 90, concurrency=3), node=node) for node in ("n1", "n3")),
    *(replace(persona("clerk", "large", concurrency=1), node=node) for node in ("n1", "n3")),
    *(
        replace(local("dozer", 60, concurrency=1, keep_alive_s=5.0, asleep_bytes=20), node=node)
        for node in ("n1", "n2")
    ),
    replace(local("batched", 35, concurrency=3), batching="together", node="n2"),
    replace(local("unknown", None, concurrency=1), node="n1"),
    local("flash", 40, concurrency=2, keep_alive_s=0.0),
    remote("api"),
    remote("slow-api", concurrency=2, rpm=3),
)
NAMES = [place.expert for place in FLEET]
OUTCOMES = [
    LeaseOutcome(ok=True, duration_s=2.0, first_byte_s=0.1),
    LeaseOutcome(ok=True, duration_s=40.0, first_byte_s=30.0),
    LeaseOutcome(ok=True, duration_s=3.0),
    LeaseOutcome(ok=False, duration_s=0.1),
    LeaseOutcome(ok=False, duration_s=0.1, retry_after_s=7.0),
    LeaseOutcome(ok=None, duration_s=0.1),
]
MOSTLY = st.sampled_from([True, True, True, True, False])
EDITS = st.dictionaries(
    st.sampled_from(["small", "large", "unknown", "batched", "dozer", "napper"]),
    st.fixed_dictionaries(
        {
            "memory_bytes": st.sampled_from([25, 50, 85]),
            "concurrency": st.sampled_from([1, 2, None]),
            "asleep_bytes": st.sampled_from([None, 10, 30]),
        }
    ),
    max_size=2,
)
ENDPOINT = Endpoint("http://127.0.0.1:1/v1", "t")


@cache
def plans(names: tuple[str, ...]) -> st.SearchStrategy[Plan]:
    options = st.builds(Option, st.sampled_from(names), st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0]))
    exploring = st.sampled_from([0.0, 0.5])
    return st.builds(
        make_plan,
        st.lists(options, min_size=1, max_size=4, unique_by=lambda option: option.expert),
        st.builds(Settings, mu=st.sampled_from([0.0, 0.01, 1.0]), explore=exploring, near_tie=st.just(0.2)),
        uniform=st.sampled_from([0.0, 0.2, 0.4, 0.9]),
    )


class SchedulerMachine(RuleBasedStateMachine):
    places: tuple[Place, ...] = FLEET
    nodes: Mapping[str, NodeMemory] = {}
    policy: Callable[[], Rules] = SwitchyardRules

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.core = Core(
            self.places,
            BUDGET,
            self.now,
            asleep_budget_bytes=ASLEEP_BUDGET,
            nodes=self.nodes,
            rules=self.policy(),
            max_waiting=5,
            uniform=lambda: 0.5,
        )
        self.fleet = self.places
        self.budget, self.asleep_budget = BUDGET, ASLEEP_BUDGET
        self.closed = False
        self.plans: dict[str, Plan] = {}
        self.waiting: set[Waiter] = set()
        self.leases: list[tuple[Lease, Host, int]] = []
        self.grants: list[tuple[str, float]] = []
        self.loading: list[Host] = []
        self.stopping: list[Host] = []
        self.in_memory: set[Host] = set()
        self.falling_asleep: list[Host] = []
        self.asleep: set[Host] = set()
        self.numbers: dict[Host, int] = {}
        self.begun: list[tuple[Host, int, list[Host]]] = []  # with whom the same is under way
        self.asked = 0
        self.there = dict(self.nodes)
        self.lost: set[str] = set()

    # What can happen

    @rule(
        data=st.data(),
        patience=st.sampled_from([1.0, 50.0, math.inf]),
        priority=st.sampled_from(["interactive", "bulk"]),
        tenant=st.sampled_from("xyz"),
        session=st.sampled_from([None, "s1", "s2"]),
    )
    def acquire(self, data, patience, priority, tenant, session):
        plan = data.draw(plans(tuple(dict.fromkeys(place.expert for place in self.places))))
        node = data.draw(st.sampled_from(["", *self.nodes])) if self.nodes else ""
        self.asked += 1
        deadline = self.now + patience
        request = LeaseRequest(f"r{self.asked}", plan.choices, plan.mu, deadline, priority, tenant, session, node)
        self.plans[request.id] = plan
        try:
            admitted = self.core.acquire(request, self.now)
        except SwitchyardError:
            pass
        else:
            assert not self.closed
            if isinstance(admitted, Lease):
                self.granted(admitted)
            else:
                self.waiting.add(admitted)
        self.carry_out()

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES))
    def release(self, data, outcome):
        lease, _, _ = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        self.core.release(lease, outcome, self.now)
        self.carry_out()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data):
        waiter = data.draw(st.sampled_from(sorted(self.waiting, key=lambda w: w.ticket)))
        self.waiting.remove(waiter)
        self.core.cancel(waiter, self.now)
        self.carry_out()

    @precondition(lambda self: self.loading)
    @rule(data=st.data(), works=MOSTLY, more_bytes=st.sampled_from([0, 0, 0, 15, 50]))
    def finish_load(self, data, works, more_bytes):
        host = self.loading.pop(data.draw(st.integers(0, len(self.loading) - 1)))
        self.asleep.discard(host)
        if works:
            measured = (host.place.memory_bytes or 20) + more_bytes
            self.core.loaded(host, host.generation, ENDPOINT, measured, self.now)
        else:
            self.in_memory.remove(host)
            if host.waking:
                self.core.died(host, "it did not wake", self.now)
            else:
                self.core.load_failed(host, host.generation, "broken", self.now)
        self.carry_out()

    @precondition(lambda self: self.late())
    @rule(data=st.data(), works=MOSTLY)
    def report_late(self, data, works):
        """What is told of a load or a sleep that is over, or was broken off, changes nothing."""
        host, generation, alike = data.draw(st.sampled_from(self.late()))
        before = host.state, host.generation, host.endpoint, host.memory_bytes, host.failures, self.core.memory
        if alike is self.falling_asleep:
            self.core.slept(host, generation, 20, self.now)
        elif works:
            self.core.loaded(host, generation, ENDPOINT, 99, self.now)
        else:
            self.core.load_failed(host, generation, "broken", self.now)
        assert self.core.take_actions() == []
        after = host.state, host.generation, host.endpoint, host.memory_bytes, host.failures, self.core.memory
        assert before == after

    @precondition(lambda self: self.falling_asleep)
    @rule(data=st.data(), works=MOSTLY, kept_bytes=st.sampled_from([0, 10, 25]))
    def finish_falling_asleep(self, data, works, kept_bytes):
        host = self.falling_asleep.pop(data.draw(st.integers(0, len(self.falling_asleep) - 1)))
        self.in_memory.remove(host)
        if works:
            self.core.slept(host, host.generation, kept_bytes, self.now)
        else:
            self.asleep.remove(host)
            self.core.died(host, "it did not fall asleep", self.now)
        self.carry_out()

    @precondition(lambda self: self.stopping)
    @rule(data=st.data())
    def finish_stop(self, data):
        host = self.stopping.pop(data.draw(st.integers(0, len(self.stopping) - 1)))
        self.gone(host)
        self.core.stopped(host, self.now)
        self.carry_out()

    @precondition(lambda self: self.crashable())
    @rule(data=st.data())
    def crash(self, data):
        host = data.draw(st.sampled_from(self.crashable()))
        self.gone(host)
        self.core.died(host, "its server exited with code -11", self.now)
        self.carry_out()

    @rule(seconds=st.sampled_from([0.1, 2.0, 10.0, 70.0]))
    def time_passes(self, seconds):
        until = self.now + seconds
        while self.core.next_wake <= until:
            self.tick(max(self.now, self.core.next_wake))
        self.now = until

    @rule(name=st.sampled_from(NAMES))
    def unload(self, name):
        if name in {place.expert for place in self.fleet}:
            self.core.unload(name, self.now)
            self.carry_out()

    @precondition(lambda self: not self.closed)
    @rule(
        gone=st.sets(st.sampled_from(["api", "poet", "medium", "flash"])),
        changed=st.frozensets(st.sampled_from(["small", "large", "unknown"])),
        budget=st.sampled_from([BUDGET, BUDGET - 5]),
        asleep_budget=st.sampled_from([ASLEEP_BUDGET, 20, 0]),
        edits=EDITS,
    )
    def reconfigure(self, gone, changed, budget, asleep_budget, edits):
        kept = [place for place in self.places if place.expert not in gone and place.node in ["", *self.there]]
        self.fleet = tuple(replace(place, **edits.get(place.expert, {})) for place in kept)
        self.budget, self.asleep_budget = budget, asleep_budget
        self.core.reconfigure(self.fleet, budget, changed, self.now, asleep_budget_bytes=asleep_budget)
        self.carry_out()

    @precondition(lambda self: self.asked >= 10)
    @rule()
    def close(self):
        self.closed = True
        self.core.close(self.now)
        self.carry_out()
        assert not self.waiting
        assert set(self.stopping) == self.in_memory | self.asleep

    # What must hold

    def tick(self, now):
        self.now = now
        self.core.tick(now)
        self.carry_out()

    def carry_out(self):
        for action in self.core.take_actions():
            match action:
                case Grant(waiter, lease):
                    self.waiting.remove(waiter)  # KeyError: answered twice, or after it was cancelled
                    assert lease.expert in {choice.expert for choice in waiter.candidates}
                    self.granted(lease)
                case Refuse(waiter, _):
                    self.waiting.remove(waiter)
                case Load(host, generation):
                    assert host not in self.asleep
                    self.begin_to_load(host, generation)
                case Wake(host, generation):
                    assert host in self.asleep
                    self.begin_to_load(host, generation)
                case Sleep(host, generation):
                    assert generation == host.generation
                    assert not self.live(host), "a leased server was put to sleep"
                    assert host in self.in_memory
                    self.asleep.add(host)
                    self.falling_asleep.append(host)
                    self.begun.append((host, generation, self.falling_asleep))
                case Stop(host):
                    assert host in self.in_memory | self.asleep
                    assert self.closed or not self.live(host), "a leased server was stopped"
                    for under_way in (self.loading, self.falling_asleep):
                        if host in under_way:
                            under_way.remove(host)
                    self.stopping.append(host)

    def begin_to_load(self, host, generation):
        assert host not in self.in_memory
        assert all(other.key != host.key for other in self.in_memory | self.asleep if other is not host)
        assert host.node not in self.lost
        assert generation == host.generation
        self.numbers.setdefault(host, len(self.numbers))
        self.in_memory.add(host)
        self.loading.append(host)
        self.begun.append((host, generation, self.loading))
        assert sum(other.memory_bytes for other in self.on(host.node, self.in_memory)) <= self.budgets()[host.node]

    def on(self, node, hosts):
        return [host for host in hosts if host.node == node]

    def budgets(self):
        return {"": self.budget} | {node: memory.budget_bytes for node, memory in self.there.items()}

    def asleep_budgets(self):
        return {"": self.asleep_budget} | {node: memory.asleep_budget_bytes for node, memory in self.there.items()}

    def granted(self, lease):
        host = self.core.expert(lease.expert, lease.node).host
        assert host.node == lease.node
        assert host.node not in self.lost
        assert host.state in {"ready", "remote", "draining"}  # it may have to leave right after it gave the lease
        assert host not in self.stopping
        if host.place.holds_weights:
            assert host in self.in_memory
            assert host not in self.loading
            assert host not in self.asleep
        plan = self.plans[lease.id.rpartition("/")[0]]
        assert lease.expert in lease.weighed.waits_s
        assert lease.expert == bind(
            [c for c in plan.choices if c.expert in lease.weighed.waits_s], lease.weighed.prices_s, plan.mu
        )
        assert propensity(plan, lease.weighed.prices_s, lease.expert) > 0.0
        self.leases.append((lease, host, host.generation))
        self.grants.append((lease.expert, self.now))
        assert self.live(host) <= host.limit

    def late(self):
        """Which loads and sleeps have ended, one way or another."""
        return [
            (host, generation, alike)
            for host, generation, alike in self.begun
            if host not in alike or generation != host.generation
        ]

    def live(self, host):
        return sum(h is host and generation == host.generation for _, h, generation in self.leases)

    def crashable(self):
        launching = {host for host in self.loading if not host.waking}
        hosts = (self.in_memory | self.asleep) - launching - set(self.stopping)
        return sorted(hosts, key=lambda host: self.numbers[host])

    def gone(self, host):
        """Its server is no more."""
        self.in_memory.discard(host)
        self.asleep.discard(host)
        for under_way in (self.loading, self.falling_asleep):
            if host in under_way:
                under_way.remove(host)

    @invariant()
    def memory_is_within_the_budget(self):
        """Nothing is loaded without room. A server may be larger than it said, or the budget smaller: then others leave."""
        for node, budget in self.budgets().items():
            here = self.on(node, self.in_memory)
            if all(host.state != "loading" for host in here):
                assert sum(host.memory_bytes for host in here if host.state == "ready") <= budget

    @invariant()
    def those_asleep_have_room(self):
        """Or all have been stopped that may be."""
        for node, budget in self.asleep_budgets().items():
            remain = [host for host in self.on(node, self.asleep) if not host.stopping]
            if any(host.state == "asleep" and not host.queued for host in remain):
                assert sum(host.asleep_bytes for host in remain) <= budget

    @invariant()
    def what_is_told_is_so(self):
        used = [host for node in self.budgets() for host in self.on(node, self.in_memory)]
        assert self.core.memory.used_bytes == sum(host.memory_bytes for host in used)
        held = Counter((lease.expert, host) for lease, host, generation in self.leases if generation == host.generation)
        for status in self.core.status(self.now):
            assert status.leases == held[status.expert, self.core.expert(status.expert, status.node).host]

    @invariant()
    def every_waiter_stands_in_one_queue(self):
        statuses = {(status.expert, status.node): status for status in self.core.status(self.now)}
        bound = Counter((waiter.bound.name, waiter.bound.place.node) for waiter in self.waiting)
        assert {name: status.waiting for name, status in statuses.items() if status.waiting} == dict(bound)
        for waiter in self.waiting:
            assert waiter in self.core.expert(waiter.bound.name, waiter.bound.place.node).queue
            assert waiter.bound.place.node not in self.lost

    @invariant()
    def nobody_waits_for_what_is_free(self):
        for expert in {waiter.bound for waiter in self.waiting}:
            assert not (
                expert.has_room(self.now) and expert.breaker.admits(self.now) and self.core.next_wake > self.now
            )

    @invariant()
    def rates_are_kept(self):
        assert sum(name == "slow-api" and at + 60.0 > self.now for name, at in self.grants) <= 3

    def teardown(self):
        """Once the world behaves, nobody is left waiting."""
        for node in sorted(self.lost):
            self.lost.remove(node)
            self.core.found(node, self.now)
            self.carry_out()
        for _ in range(500):
            while self.leases or self.loading or self.stopping or self.falling_asleep:
                if self.stopping:
                    host = self.stopping.pop()
                    self.gone(host)
                    self.core.stopped(host, self.now)
                elif self.falling_asleep:
                    host = self.falling_asleep.pop()
                    self.in_memory.remove(host)
                    self.core.slept(host, host.generation, 0, self.now)
                elif self.leases:
                    self.core.release(self.leases.pop()[0], OUTCOMES[0], self.now)
                else:
                    host = self.loading.pop()
                    self.asleep.discard(host)
                    self.core.loaded(host, host.generation, ENDPOINT, host.memory_bytes, self.now)
                self.carry_out()
            if not self.waiting:
                assert not self.closed or not self.in_memory | self.asleep
                return
            assert self.core.next_wake < math.inf, "somebody waits, and nothing will ever happen"
            self.tick(max(self.now, self.core.next_wake))
        raise AssertionError("somebody waits for ever")


class NodesMachine(SchedulerMachine):
    """Three nodes beside this machine, which are lost and found, with servers that run already and leases of old."""

    places = SPREAD
    nodes = NODES

    @precondition(lambda self: not self.closed)
    @rule(there=st.sets(st.sampled_from(sorted(NODES))), budget=st.sampled_from([90, 120]))
    def rearrange(self, there, budget):
        """Nodes go and come, under the names of others that have gone, and with more or less memory."""
        self.there = {node: replace(NODES[node], budget_bytes=budget) for node in there}
        self.lost &= there
        self.fleet = tuple(place for place in self.places if place.node in ["", *there])
        self.core.reconfigure(self.fleet, self.budget, frozenset(), self.now, nodes=self.there)
        self.carry_out()

    @precondition(lambda self: self.there.keys() - self.lost)
    @rule(data=st.data(), stopped=st.booleans())
    def lose(self, data, stopped):
        node = data.draw(st.sampled_from(sorted(self.there.keys() - self.lost)))
        stopping = self.on(node, self.stopping)
        for host in self.on(node, self.in_memory | self.asleep | set(self.stopping)):
            self.gone(host)
        self.stopping = [host for host in self.stopping if host.node != node]
        self.lost.add(node)
        self.core.lost(node, "it does not answer", self.now)
        self.carry_out()
        assert not self.on(node, self.stopping)
        for host in stopping if stopped else ():
            self.core.stopped(host, self.now)
            self.carry_out()

    @precondition(lambda self: self.lost)
    @rule(data=st.data())
    def find(self, data):
        node = data.draw(st.sampled_from(sorted(self.lost)))
        self.lost.remove(node)
        self.core.found(node, self.now)
        self.carry_out()

    @rule(
        place=st.sampled_from([place for place in SPREAD if place.node and place.expert == place.host]),
        more=st.integers(0, 20),
    )
    def adopt(self, place, more):
        host = self.core.adopt(place.expert, place.node, ENDPOINT, (place.memory_bytes or 20) + more, self.now)
        if host is not None:
            assert host.node not in self.lost
            assert host not in self.in_memory | self.asleep
            self.numbers.setdefault(host, len(self.numbers))
            self.in_memory.add(host)
        self.carry_out()

    @rule(place=st.sampled_from(SPREAD))
    def restore(self, place):
        self.asked += 1
        lease = Lease(
            f"old{self.asked}/1", place.expert, ENDPOINT if place.holds_weights else None, 0.0, node=place.node
        )
        if self.core.restore(lease, self.now):
            host = self.core.expert(place.expert, place.node).host
            assert host.state in {"ready", "draining", "remote"}
            self.leases.append((lease, host, host.generation))


class SleepersMachine(SchedulerMachine):
    """Nobody but those that sleep: one at a time is awake, and one or two of them have room to sleep."""

    places = SLEEPERS


class ArbitraryRules(SwitchyardRules):
    """Decide anything, always the same in the same situation."""

    def load_order(self, wanted: Mapping[Host, float], now: float) -> Iterable[Host]:
        return sorted(wanted, key=lambda host: dice(host, now))

    def leaves_at(self, resident: Host, wanted: Host, now: float) -> float:
        return now + (dice(resident, now) - 1) * dice(wanted, now)

    def eviction_key(self, host: Host, now: float) -> tuple[float, ...]:
        return (dice(host, now),)


def dice(host: Host, now: float) -> int:
    return (len(host.name) * 7 + host.loads * 3 + host.queued * 5 + int(now)) % 6


class ArbitraryRulesMachine(SchedulerMachine):
    policy = ArbitraryRules


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestNodes = NodesMachine.TestCase
TestNodes.settings = settings(TestScheduler.settings, max_examples=100)
TestSleepers = SleepersMachine.TestCase
TestSleepers.settings = settings(TestScheduler.settings, max_examples=100)
TestArbitraryRules = ArbitraryRulesMachine.TestCase
TestArbitraryRules.settings = settings(TestScheduler.settings, max_examples=100)
