"""Keys take turns, wherever their requests may go; bulk work and floods are no reason to refuse others."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from orchestrator.errors import RateLimited
from orchestrator.scheduler.actions import Grant
from orchestrator.scheduler.base import Lease
from orchestrator.scheduler.core import Core
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


def test_a_flood_delays_a_key_that_was_served_much_by_one_while_another_host_is_stuck():
    """Turns stood still while somebody waited anywhere, and whoever came late began before the others."""
    core = Core([remote("stuck", concurrency=1), remote("a", concurrency=1)], 0, 0.0)
    core.acquire(of("other", 0, "stuck"), 0.0)
    core.acquire(of("other", 1, "stuck"), 0.0)
    serve_one_at_a_time(core, "shop", "a", times=1000)
    for number in range(1000):
        core.acquire(of("flood", number, "a"), 0.0)
    core.acquire(of("shop", 1001, "a"), 0.0)
    assert core.position("shop-1001", 0.0).ahead == 1


@pytest.mark.parametrize("candidates", [("a",), ("a", "busy")])
def test_a_flood_delays_another_key_by_one_however_many_are_served_elsewhere(candidates):
    core = Core([remote("a", concurrency=1), remote("busy", concurrency=1)], 0, 0.0)
    for number in range(1000):
        core.acquire(of("flood", number, "a"), 0.0)
    serve_one_at_a_time(core, "shop", "busy", times=1000)
    for tenant in ("shop", "new"):
        core.acquire(of(tenant, 2000, *candidates), 0.0)
    assert (core.position("shop-2000", 0.0).ahead, core.position("new-2000", 0.0).ahead) == (1, 2)


def test_batches_that_wait_give_way_to_a_key_that_asks_one_at_a_time():
    """Once they had waited for a hundred of its requests, each of them went before every other one."""
    core = Core([remote("a", concurrency=1)], 0, 0.0)
    held = core.acquire(of("shop", 0, "a"), 0.0)
    for number in range(800):
        core.acquire(of(f"batch-{number % 8}", number, "a", priority="bulk"), 0.0)
    waits = []
    for number in range(1, 501):
        core.acquire(of("shop", number, "a"), 0.0)
        waits.append(core.position(f"shop-{number}", 0.0).ahead)
        for _ in range(waits[-1] + 1):
            held = release(core, held)
    assert [ahead for ahead in waits if ahead] == [8, 8, 8, 8]


def serve_one_at_a_time(core: Core, tenant: str, expert: str, *, times: int) -> None:
    """Each waits for the one before, the last of which keeps its lease."""
    held = core.acquire(of(tenant, 0, expert), 0.0)
    for number in range(1, times + 1):
        core.acquire(of(tenant, number, expert), 0.0)
        held = release(core, held)


def release(core: Core, lease: Lease) -> Lease:
    """Whose turn it is next."""
    core.release(lease, OK, 0.0)
    (granted,) = core.take_actions()
    return granted.lease


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
