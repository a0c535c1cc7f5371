"""Keys take turns, wherever their requests may go; bulk work and floods are no reason to refuse others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.errors import RateLimited
from orchestrator.scheduler.base import Lease
from orchestrator.scheduler.core import Core
from orchestrator.scheduler.state import Grant
from tests.support.places import OK, ask, local, persona, remote


def of(tenant: str, number: int, *experts: str, priority: str = "interactive", **options):
    return replace(ask(*experts, request_id=f"{tenant}-{number}", **options), tenant=tenant, priority=priority)


def served_in_order(core: Core, first: Lease) -> list[str]:
    """Requests in the order of their leases, one at a time."""
    held, served, now = [first], [], 0.0
    while held:
        now += 1.0
        core.release(held.pop(0), OK, now)
        granted = [action.lease for action in core.take_actions() if isinstance(action, Grant)]
        served += [lease.id.rpartition("/")[0] for lease in granted]
        held += granted
    return served


def test_a_flood_over_two_experts_delays_another_key_by_one():
    core = Core([remote("a", concurrency=1), remote("b", concurrency=1)], 0, 0.0)
    first = core.acquire(of("flood", 0, "a", "b", mu=1.0), 0.0)
    second = core.acquire(of("flood", 1, "a", "b", mu=1.0), 0.0)
    assert isinstance(first, Lease)
    assert isinstance(second, Lease)
    for number in range(2, 92):
        core.acquire(of("flood", number, "a", "b", mu=1.0), 0.0)
    core.acquire(of("other", 0, "a"), 0.0)
    core.release(second, replace(OK, ok=None), 0.5)
    assert served_in_order(core, first).index("other-0") <= 2


def test_a_flood_over_a_persona_delays_another_key_at_its_base():
    core = Core([local("base", 10, concurrency=1), persona("poet", "base")], 10, 0.0)
    core.acquire(of("flood", 0, "poet"), 0.0)
    for number in range(1, 90):
        core.acquire(of("flood", number, "poet"), 0.0)
    core.acquire(of("other", 0, "base"), 0.0)
    assert core.position("other-0", 0.0).ahead == 1


def test_a_key_that_waits_too_often_is_refused_and_others_are_not():
    core = Core([remote("a", concurrency=1)], 0, 0.0, max_waiting=3)
    core.acquire(of("flood", 0, "a"), 0.0)
    for number in range(1, 4):
        core.acquire(of("flood", number, "a"), 0.0)
    with pytest.raises(RateLimited):
        core.acquire(of("flood", 4, "a"), 0.0)
    core.acquire(of("other", 0, "a"), 0.0)


def test_bulk_work_that_waits_is_no_reason_to_refuse_what_somebody_waits_for():
    core = Core([remote("a", concurrency=1)], 0, 0.0, max_waiting=3)
    core.acquire(of("shop", 0, "a"), 0.0)
    for number in range(1, 4):
        core.acquire(of("shop", number, "a", priority="bulk"), 0.0)
    with pytest.raises(RateLimited):
        core.acquire(of("shop", 4, "a", priority="bulk"), 0.0)
    core.acquire(of("shop", 5, "a"), 0.0)
    assert core.position("shop-5", 0.0).ahead == 0


def test_whatever_keys_there_are_an_experts_queue_is_bounded():
    core = Core([remote("a", concurrency=1)], 0, 0.0, max_waiting=3)
    core.acquire(of("k", 0, "a"), 0.0)
    with pytest.raises(RateLimited):
        for number in range(100):
            core.acquire(of(f"key-{number}", 0, "a"), 0.0)
    assert core.status(0.0)[0].waiting < 100
