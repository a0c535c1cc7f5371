"""The concurrency that is found out, on servers that take so many requests at once and let the others wait inside."""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduler.actions import Grant, Load, Stop
from orchestrator.scheduler.base import Lease, LeaseOutcome, Place
from orchestrator.scheduler.concurrency import HELD_WINDOWS, MOST, WINDOW, ConcurrencyLimit
from orchestrator.scheduler.core import Core
from tests.support.places import ask, become_ready
from tests.support.world import World

FIRST = 4
ENOUGH = 8_000
"""Answers until it has settled, from wherever it was."""

Draw = Callable[[random.Random], float]
SERVICE_S: dict[str, Draw] = {
    "deterministic": lambda dice: 1.0 + 0.01 * dice.random(),
    "exponential": lambda dice: dice.expovariate(1.0),
    "lognormal": lambda dice: dice.lognormvariate(-0.5, 1.0),
}


class Server:
    """Takes `knee` requests at once, and always has somebody waiting outside. `seen`: how often each value was in use."""

    def __init__(self, service: str, seed: int = 0) -> None:
        self.limit = ConcurrencyLimit(FIRST)
        self.now = 0.0
        self.seen: Counter[int] = Counter()
        self._draw, self._dice = SERVICE_S[service], random.Random(seed)
        self._ends: list[float] = []
        self._began: deque[float] = deque()

    def serve(self, answers: int, knee: int) -> Counter[int]:
        self.seen.clear()
        for _ in range(answers):
            while len(self._began) < self.limit.value:
                self._began.append(self.now)
            while len(self._ends) < min(len(self._began), knee):
                heapq.heappush(self._ends, self.now + self._draw(self._dice))
            self.now = heapq.heappop(self._ends)
            self.limit.completed(self.now, began=self._began.popleft(), saturated=True)
            self.seen[self.limit.value] += 1
        return self.seen


def share(seen: Counter[int], least: float, most: float) -> float:
    return sum(times for value, times in seen.items() if least <= value <= most) / seen.total()


@pytest.mark.parametrize("service", SERVICE_S)
@pytest.mark.parametrize("knee", [1, 4, 32, 200])
def test_it_ends_within_a_factor_of_two_of_the_knee(knee, service):
    seen: Counter[int] = Counter()
    for seed in range(4):
        server = Server(service, seed)
        server.serve(ENOUGH, knee)
        seen += server.serve(ENOUGH, knee)
    assert share(seen, knee / 2, 2 * knee) > 0.9
    assert share(seen, knee / 4, 4 * knee) > 0.99


@pytest.mark.parametrize("service", SERVICE_S)
@pytest.mark.parametrize(("knee", "later"), [(64, 4), (4, 64), (64, 1)])
def test_a_server_that_becomes_slower_or_faster_is_noticed(knee, later, service):
    server = Server(service)
    server.serve(ENOUGH, knee)
    server.serve(2 * ENOUGH, later)
    assert share(server.serve(ENOUGH, later), later / 2, 2 * later) > 0.8


def test_a_trial_that_ran_into_luck_is_taken_back():
    server = Server("exponential")
    server.limit = ConcurrencyLimit(64)
    server.serve(ENOUGH, 4)
    assert share(server.serve(ENOUGH, 4), 2, 8) > 0.9


def test_it_tries_others_seldom():
    server = Server("deterministic")
    server.serve(ENOUGH, 4)
    assert share(server.serve(ENOUGH, 4), 4, 4) > 0.75


def test_a_server_that_is_not_full_says_nothing():
    limit = ConcurrencyLimit(FIRST)
    for second in range(10_000):
        limit.completed(float(second), began=second - 1.0, saturated=False)
    assert limit.value == FIRST


def test_a_queue_that_is_empty_now_and_then_is_no_hindrance():
    server = Server("exponential")
    for _ in range(400):
        server.serve(100, 32)
        server.limit.completed(server.now, began=server.now - 1.0, saturated=False)
    assert 16 <= server.limit.value <= 64


def test_a_burst_of_refusals_halves_it_once():
    limit = ConcurrencyLimit(64)
    for number in range(64):
        limit.pushed_back(10.0 + 0.01 * number, began=10.0 - 0.1 * number, service_s=2.0)
    assert limit.value == 32


def test_those_sent_before_the_cut_could_be_felt_do_not_halve_it_again():
    limit = ConcurrencyLimit(64)
    limit.pushed_back(10.0, began=9.0, service_s=2.0)
    limit.pushed_back(40.0, began=11.9, service_s=2.0)
    assert limit.value == 32
    limit.pushed_back(40.0, began=12.1, service_s=2.0)
    assert limit.value == 16


def test_a_server_that_refused_is_sent_half_as_many_for_a_while():
    server = Server("exponential")
    server.serve(ENOUGH, 64)
    server.limit.pushed_back(server.now, began=server.now, service_s=1.0)
    half = server.limit.value
    assert share(server.serve(HELD_WINDOWS * max(half, WINDOW) // 2, 64), half, half) == 1.0
    assert share(server.serve(2 * ENOUGH, 64), 2 * half, 4 * half) > 0.5


def test_time_out_of_memory_says_nothing():
    limits = []
    for away_s in (0.0, 1e6):
        limit, now = ConcurrencyLimit(1), 0.0
        for number in range(3000):
            began, now = now, now + 1.0
            limit.completed(now, began=began, saturated=True)
            if number % 50 == 0:
                now += away_s
                limit.restart(now)
        limits.append(limit.value)
    assert limits[0] == limits[1]


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 100), st.booleans(), st.booleans()), max_size=300))
def test_it_is_always_a_number_of_requests(events):
    limit, now = ConcurrencyLimit(FIRST), 0.0
    for pause, duration_s, saturated, refused in events:
        now += pause
        if refused:
            limit.pushed_back(now, began=now - duration_s, service_s=1.0)
        else:
            limit.completed(now, began=now - duration_s, saturated=saturated)
        assert 1 <= limit.value <= MOST


def test_a_host_that_declares_none_is_given_more_once_it_has_proved_itself():
    places = [Place("a", "a", holds_weights=True, memory_bytes=10), Place("b", "b", True, 10, concurrency=4)]
    world = World(places, 100, load_s=1.0, service_s=1.0)
    for number in range(4000):
        world.arrive(0.01 * number, ask("a" if number % 2 else "b", request_id=str(number)))
    world.run()
    limits = {name: host.limit for name, host in world.core.hosts.items()}
    assert limits["b"] == 4
    assert limits["a"] >= 16


def test_a_host_that_refuses_a_burst_is_given_half_as_many_leases():
    core = Core([Place("a", "a", holds_weights=True, memory_bytes=10)], 100, 0.0)
    for number in range(FIRST):
        core.acquire(ask("a", request_id=str(number)), 0.0)
    become_ready(core, "a", 1.0)
    leases = [action.lease for action in core.take_actions() if isinstance(action, Grant)]
    assert len(leases) == FIRST
    for lease in leases:
        core.release(lease, LeaseOutcome(ok=False, duration_s=0.1, retry_after_s=1.0), 1.1)
    assert core.hosts["a"].limit == FIRST // 2


def test_eviction_between_bursts_is_no_hindrance():
    """One request at a time, whatever it is sent; and its server is stopped whenever nobody waits."""
    core, now = Core([Place("a", "a", holds_weights=True, memory_bytes=60, keep_alive_s=0.0)], 100, 0.0), 0.0
    inside: deque[tuple[Lease, float]] = deque()
    for _ in range(200):
        now += 1000.0
        for _ in range(30):
            core.acquire(ask("a"), now)
        while (actions := core.take_actions()) or inside:
            for action in actions:
                match action:
                    case Load(host):
                        become_ready(core, host.name, now)
                    case Stop(host):
                        core.stopped(host, now)
                    case Grant(_, lease):
                        inside.append((lease, now))
            if not actions:
                lease, began = inside.popleft()
                now += 1.0
                core.release(lease, LeaseOutcome(ok=True, duration_s=now - began), now)
    assert core.hosts["a"].loads == 200
    assert core.hosts["a"].limit <= 2
