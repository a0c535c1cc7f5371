"""Requests per minute: kept by all who share them, waited for in order, and promised to nobody who can't have them in time."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from orchestrator.errors import RateLimited
from orchestrator.scheduler.core import Core
from orchestrator.scheduler.state import Waiter
from tests.support.places import ask, become_ready, cluster, happened, local, on, persona, remote, warm


def test_requests_per_minute_are_kept_and_waited_for():
    core = Core([remote("a", rpm=2)], 0, 0.0)
    for at in (0.0, 10.0):
        core.acquire(ask("a"), at)
    core.acquire(ask("a", request_id="w"), 20.0)
    assert core.weigh(["a"], 20.0).waits_s == {"a": 50.0}  # the next free one is 70 s, after the one that waits
    core.tick(59.9)
    assert happened(core) == []
    assert core.next_wake == 60.0
    core.tick(60.0)
    assert happened(core) == ["grant w a"]


def test_nobody_overtakes_a_waiter_whose_wake_up_is_late():
    core = Core([remote("a", rpm=1)], 0, 0.0)
    core.acquire(ask("a"), 0.0)
    core.acquire(ask("a", request_id="w"), 1.0)
    assert isinstance(core.acquire(ask("a"), 60.5), Waiter)
    assert happened(core) == ["grant w a"]


def test_when_the_minute_is_used_up_others_are_bound_by_utility():
    core = Core([remote("a", rpm=1), remote("b")], 0, 0.0)
    core.acquire(ask("a"), 0.0)
    assert core.acquire(ask("a", "b", mu=0.01), 0.0).expert == "b"


def test_a_request_whose_deadline_the_rate_limit_can_not_meet_is_refused_at_once():
    core = Core([remote("a", rpm=1)], 0, 0.0)
    core.acquire(ask("a"), 0.0)
    with pytest.raises(RateLimited) as caught:
        core.acquire(ask("a", deadline=30.0), 10.0)
    assert caught.value.retry_after_s == 50.0


def test_a_personas_requests_count_in_its_hosts_minute():
    core = Core([remote("base", rpm=1), persona("poet", "base")], 0, 0.0)
    core.acquire(ask("poet"), 0.0)
    assert isinstance(core.acquire(ask("base"), 1.0), Waiter)


def test_who_waits_for_a_base_is_not_ahead_in_its_personas_minute():
    core = Core([local("base", 60), persona("poet", "base", rpm=2)], 100, 0.0)
    for i in range(10):
        core.acquire(ask("base", request_id=f"r{i}"), 0.0)
    become_ready(core, "base", 1.0)
    assert isinstance(core.acquire(ask("poet", deadline=60.0), 1.0), Waiter)


def test_a_minute_that_bulk_work_waits_for_is_others_first():
    core = Core([remote("a", rpm=2)], 0, 0.0)
    for i in range(12):
        core.acquire(replace(ask("a", request_id=f"b{i}"), priority="bulk"), 0.0)
    core.acquire(ask("a", request_id="r", deadline=70.0), 1.0)
    core.tick(60.0)
    assert "grant r a" in happened(core)


def test_a_minute_that_one_key_floods_is_another_keys_too():
    core = Core([remote("a", rpm=2)], 0, 0.0)
    for i in range(12):
        core.acquire(replace(ask("a", request_id=f"x{i}"), tenant="x"), 0.0)
    core.acquire(replace(ask("a", request_id="y", deadline=70.0), tenant="y"), 1.0)
    with pytest.raises(RateLimited):
        core.acquire(replace(ask("a", request_id="late", deadline=70.0), tenant="x"), 1.0)
    core.tick(60.0)
    assert "grant y a" in happened(core)


def test_a_queue_for_a_shared_rate_is_one_queue():
    core = cluster(*(on(node, local("a", 60, concurrency=9, rpm=2)) for node in ("n1", "n2")))
    warm(core, "a", "n1", "n2")
    for i in range(6):
        core.acquire(replace(ask("a", request_id=f"r{i}"), node=("n1", "n2")[i % 2]), 0.0)
    assert core.weigh(["a"], 0.0).waits_s == {"a": 180.0}
    with pytest.raises(RateLimited) as caught:
        core.acquire(ask("a", deadline=170.0), 0.0)
    assert caught.value.retry_after_s == 180.0
    core.tick(60.0)
    assert happened(core) == ["grant r2 a", "grant r3 a"]


def test_who_comes_when_the_rate_lets_one_through_overtakes_nobody_at_another_replica():
    core = cluster(*(on(node, local("a", 60, concurrency=9, rpm=1)) for node in ("n1", "n2")))
    warm(core, "a", "n1", "n2")
    core.acquire(replace(ask("a", request_id="first"), node="n1"), 0.0)
    core.acquire(replace(ask("a", request_id="waits"), node="n1"), 1.0)
    core.acquire(replace(ask("a", request_id="late"), node="n2"), 60.0)
    assert happened(core) == ["grant waits a"]
