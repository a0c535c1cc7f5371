"""The concurrency that is found out, on servers whose throughput has a knee."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduler.base import Place
from orchestrator.scheduler.concurrency import MOST, ConcurrencyLimit
from tests.support.places import ask
from tests.support.world import World

FIRST = 4


def served(limit: ConcurrencyLimit, knee: int, answers: int, *, alone_s: float = 1.0, now: float = 0.0) -> float:
    """A server that always has somebody waiting and slows down in proportion beyond `knee` at once; returns the time."""
    running: list[float] = []
    for _ in range(answers):
        while len(running) < limit.value:
            at_once = len(running) + 1
            heapq.heappush(running, now + alone_s * max(1.0, at_once / knee) * (1 + 0.01 * (at_once % 7)))
        now = heapq.heappop(running)
        limit.completed(now, saturated=True)
    return now


@pytest.mark.parametrize("knee", [1, 4, 32, 200])
def test_it_ends_near_the_knee(knee):
    limit = ConcurrencyLimit(FIRST)
    served(limit, knee, 20_000)
    assert min(FIRST, knee) <= limit.value
    assert knee / 1.5 <= limit.value <= max(FIRST, knee) * 1.5**2


def test_a_server_that_is_not_full_says_nothing():
    limit = ConcurrencyLimit(FIRST)
    for second in range(10_000):
        limit.completed(float(second), saturated=False)
    assert limit.value == FIRST


def test_a_server_that_refuses_is_sent_half_as_many_for_a_while():
    limit = ConcurrencyLimit(FIRST)
    served(limit, 64, 5_000)
    before = limit.value
    limit.pushed_back()
    assert limit.value == before // 2
    served(limit, 64, 100, now=1e6)
    assert limit.value == before // 2


def test_a_server_that_has_become_faster_is_noticed():
    limit = ConcurrencyLimit(FIRST)
    now = served(limit, 4, 5_000)
    assert limit.value <= 9
    served(limit, 64, 20_000, now=now)
    assert limit.value >= 32


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans(), st.booleans()), max_size=300))
def test_it_is_always_a_number_of_requests(events):
    limit, now = ConcurrencyLimit(FIRST), 0.0
    for pause, saturated, refused in events:
        now += pause
        if refused:
            limit.pushed_back()
        else:
            limit.completed(now, saturated=saturated)
        assert 1 <= limit.value <= MOST


def test_a_host_that_declares_none_is_given_more_once_it_has_proved_itself():
    places = [Place("a", "a", holds_weights=True, memory_bytes=10), Place("b", "b", True, 10, concurrency=4)]
    world = World(places, 100, load_s=1.0, service_s=1.0)
    for number in range(2000):
        world.arrive(0.01 * number, ask("a" if number % 2 else "b", request_id=str(number)))
    world.run()
    limits = {name: host.limit for name, host in world.core.hosts.items()}
    assert limits["b"] == 4
    assert limits["a"] > 16
