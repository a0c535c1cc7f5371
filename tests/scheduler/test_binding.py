"""Which expert a request is bound to, and when: late, without herding, in order, within limits."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import DeadlineExceeded, NoCapacity, RateLimited
from orchestrator.scheduler.base import Lease, LeaseOutcome
from orchestrator.scheduler.core import Core
from orchestrator.scheduler.state import Waiter
from tests.support.places import FAILED, LEFT, OK, ask, become_ready, happened, local, persona, remote
from tests.support.world import World

QUICK = LeaseOutcome(ok=True, duration_s=0.1)


def test_the_best_expert_with_room_is_leased_at_once():
    core = Core([remote("good"), remote("bad")], 0, 0.0)
    lease = core.acquire(ask("good", "bad"), 5.0)
    assert isinstance(lease, Lease)
    assert (lease.expert, lease.wait_s, lease.endpoint, lease.weighed.waits_s) == (
        "good",
        0.0,
        None,
        {"good": 0.0, "bad": 0.0},
    )
    assert happened(core) == []


def test_without_a_price_on_waiting_a_request_waits_for_its_best_expert():
    core = Core([remote("good", concurrency=1), remote("bad")], 0, 0.0)
    core.acquire(ask("good", "bad"), 0.0)
    assert isinstance(core.acquire(ask("good", "bad"), 0.0), Waiter)


def test_with_a_price_on_waiting_it_takes_the_free_one():
    core = Core([remote("good", concurrency=1), remote("bad")], 0, 0.0)
    core.acquire(ask("good", "bad"), 0.0)
    lease = core.acquire(ask("good", "bad", mu=0.2), 0.0)  # a second of waiting costs 0.2, the other one 0.1
    assert isinstance(lease, Lease)
    assert lease.expert == "bad"
    assert lease.weighed.waits_s == {"good": 1.0, "bad": 0.0}


def test_a_lease_is_given_back_once():
    core = Core([remote("a")], 0, 0.0)
    lease = core.acquire(ask("a"), 0.0)
    core.release(lease, OK, 1.0)
    with pytest.raises(ValueError, match="given back before"):
        core.release(lease, OK, 1.0)


@given(
    burst=st.integers(2, 60),
    slots=st.lists(st.integers(1, 4), min_size=2, max_size=5),
    step=st.floats(0.0, 0.05),
)
def test_a_burst_does_not_herd(burst, slots, step):
    """Each binding counts at once: nobody is sent behind a longer wait than another expert's, beyond what utility says."""
    names = [f"e{i}" for i in range(len(slots))]
    core = Core([remote(name, concurrency=c) for name, c in zip(names, slots, strict=True)], 0, 0.0)
    bound = Counter[str]()
    for i in range(burst):
        admitted = core.acquire(ask(*names, mu=0.1, step=step, request_id=f"r{i}"), 0.0)
        bound[admitted.expert if isinstance(admitted, Lease) else admitted.bound.name] += 1
    rounds = [bound[name] / c for name, c in zip(names, slots, strict=True)]
    worth_s = step * len(names) / 0.1  # seconds of waiting that the best is worth over the worst
    assert max(rounds) <= min(rounds) + 1 + worth_s


def test_a_burst_over_cold_experts_spreads_to_where_memory_is():
    core = Core([local("a", 60, concurrency=1), local("b", 60, concurrency=1)], 100, 0.0)
    bound = [core.acquire(ask("a", "b", mu=1.0, step=0.01), 0.0).bound.name for _ in range(3)]
    assert bound == ["a", "a", "a"]  # b would have to wait for a to be used, and then be loaded
    assert happened(core) == ["load a"]


def test_within_an_expert_the_order_is_that_of_arrival():
    core = Core([remote("a", concurrency=1)], 0, 0.0)
    lease = core.acquire(ask("a"), 0.0)
    for name in ("first", "second", "third"):
        core.acquire(ask("a", request_id=name), 0.0)
    core.cancel(list(core.expert("a").queue)[1], 0.5)
    core.release(lease, OK, 1.0)
    assert happened(core) == ["grant first a"]
    assert core.position("third", 1.0).ahead == 0


def test_the_position_of_a_request_with_several_waiters_is_that_of_the_longest_wait():
    """A panel's members wait under one id."""
    core = Core([remote("a", concurrency=1), remote("b", concurrency=1)], 0, 0.0)
    for name in "aab":
        core.acquire(ask(name), 0.0)
    member, last = core.acquire(ask("a", request_id="panel"), 0.0), core.acquire(ask("b", request_id="panel"), 0.0)
    assert core.position("panel", 0.0).expert == "a"
    core.cancel(member, 1.0)
    assert core.position("panel", 1.0).expert == "b"
    core.cancel(last, 1.0)
    assert core.position("panel", 1.0) is None


def test_a_waiter_goes_to_whichever_expert_is_best_for_it_when_it_becomes_free():
    core = Core([remote("good", concurrency=1), remote("bad", concurrency=1)], 0, 0.0)
    core.acquire(ask("good"), 0.0)
    bad = core.acquire(ask("bad"), 0.0)
    waiter = core.acquire(ask("good", "bad", mu=0.2, request_id="w"), 0.0)
    assert waiter.bound.name == "good"
    core.release(bad, OK, 0.1)
    assert happened(core) == ["grant w bad"]


def test_a_waiter_that_prefers_to_wait_is_left_alone():
    core = Core([remote("good", concurrency=1), remote("bad", concurrency=1)], 0, 0.0)
    good, bad = core.acquire(ask("good"), 0.0), core.acquire(ask("bad"), 0.0)
    core.acquire(ask("good", "bad", mu=0.01, request_id="w"), 0.0)
    core.release(bad, OK, 0.1)
    assert happened(core) == []
    core.release(good, OK, 0.2)
    assert happened(core) == ["grant w good"]


def test_who_is_soon_served_stays_and_who_stands_far_behind_leaves():
    core = Core([remote("good", concurrency=1), remote("bad", concurrency=1)], 0, 0.0)
    core.acquire(ask("good"), 0.0)
    bad = core.acquire(ask("bad"), 0.0)
    for name in ("first", "second", "third", "fourth"):
        core.acquire(ask("good", "bad", mu=0.04, request_id=name), 0.0)
    core.release(bad, OK, 0.1)
    assert happened(core) == ["grant third bad"]  # three seconds at 0.04 are worth more than 0.1


def test_a_waiter_whose_turn_comes_goes_where_it_is_best_bound_by_then():
    """Granted where `bind` would not put it any more, it would have a propensity of 0."""
    core = Core([remote("good", concurrency=1), remote("bad", concurrency=1)], 0, 0.0)
    good, bad = core.acquire(ask("good"), 0.0), core.acquire(ask("bad"), 0.0)
    for name in ("first", "second"):
        core.acquire(ask("good", request_id=name), 0.0)
    waiter = core.acquire(ask("good", "bad", mu=0.2, request_id="w"), 0.0)
    assert waiter.bound.name == "bad"  # good is three answers of a second away
    core.release(good, QUICK, 0.1)
    (first,) = (action.lease for action in core.take_actions())
    core.release(bad, OK, 0.2)
    assert waiter.bound.name == "good"  # two of a tenth of a second
    core.release(first, QUICK, 0.3)
    (second,) = (action.lease for action in core.take_actions())
    core.release(second, QUICK, 0.4)
    assert happened(core) == ["grant w good"]


def test_without_a_price_on_waiting_it_goes_back_to_its_best_expert_when_that_is_healthy_again():
    core = Core([remote("best", concurrency=1), remote("other", concurrency=1)], 0, 0.0)
    for _ in range(3):
        core.release(core.acquire(ask("best"), 0.0), FAILED, 0.0)
    probe, other = core.acquire(ask("best"), 1.0), core.acquire(ask("other"), 1.0)
    core.acquire(ask("best", request_id="first"), 1.0)
    waiter = core.acquire(ask("best", "other", request_id="w"), 1.0)
    assert waiter.bound.name == "other"
    core.release(probe, OK, 2.0)
    assert happened(core) == ["grant first best"]
    core.release(other, OK, 3.0)
    assert waiter.bound.name == "best"


def test_waits_at_binding_name_only_those_that_could_be_bound():
    core = Core([remote("good", concurrency=1), remote("sick")], 0, 0.0)
    for _ in range(3):
        core.release(core.acquire(ask("sick"), 0.0), FAILED, 0.0)
    assert core.acquire(ask("good", "sick"), 0.0).weighed.waits_s == {"good": 0.0}


def test_expected_waits_count_who_is_served_and_who_waits():
    core = Core([remote("a", concurrency=2), remote("b")], 0, 0.0)
    lease = core.acquire(ask("a"), 0.0)
    core.release(lease, OK, 1.0)  # an answer takes 1 s
    for _ in range(5):
        core.acquire(ask("a"), 1.0)
    assert core.weigh(["a", "b", "nobody"], 1.0).waits_s == {"a": 2.0, "b": 0.0}


def test_the_position_of_a_request_that_waits():
    core = Core([remote("a", concurrency=1)], 0, 0.0)
    core.acquire(ask("a"), 0.0)
    core.acquire(ask("a", request_id="first"), 0.0)
    core.acquire(ask("a", request_id="second"), 0.0)
    position = core.position("second", 0.0)
    assert (position.expert, position.ahead, position.estimate_s) == ("a", 1, 2.0)
    assert core.position("nobody", 0.0) is None


def test_personas_share_the_room_of_their_host():
    core = Core([local("base", 10, concurrency=2), persona("poet", "base"), persona("clerk", "base")], 10, 0.0)
    core.acquire(ask("poet", request_id="r1"), 0.0)
    assert happened(core) == ["load base"]
    become_ready(core, "base", 1.0)
    assert happened(core) == ["grant r1 poet"]
    core.acquire(ask("base"), 1.0)
    assert isinstance(core.acquire(ask("clerk"), 1.0), Waiter)


def test_personas_and_their_host_are_served_in_order_of_arrival():
    core = Core([remote("base", concurrency=1), persona("poet", "base")], 0, 0.0)
    lease = core.acquire(ask("base"), 0.0)
    core.acquire(ask("poet", request_id="first"), 0.0)
    core.acquire(ask("base", request_id="second"), 0.0)
    assert core.position("second", 0.0).ahead == 1
    core.release(lease, OK, 1.0)
    assert happened(core) == ["grant first poet"]


def test_a_personas_own_limit_holds_beside_its_hosts():
    core = Core([remote("base", concurrency=5), persona("poet", "base", concurrency=1)], 0, 0.0)
    core.acquire(ask("poet"), 0.0)
    assert isinstance(core.acquire(ask("poet"), 0.0), Waiter)
    assert isinstance(core.acquire(ask("base"), 0.0), Lease)


def test_a_full_queue_refuses_with_the_time_to_wait():
    core = Core([remote("a", concurrency=1)], 0, 0.0, max_waiting=2)
    for _ in range(3):
        core.acquire(ask("a"), 0.0)
    with pytest.raises(RateLimited) as caught:
        core.acquire(ask("a"), 0.0)
    assert caught.value.retry_after_s == 3.0


def test_a_request_goes_to_a_worse_expert_when_the_queue_of_the_best_is_full():
    core = Core([remote("a", concurrency=1), remote("b")], 0, 0.0, max_waiting=1)
    for _ in range(2):
        core.acquire(ask("a"), 0.0)
    lease = core.acquire(ask("a", "b"), 0.0)
    assert (lease.expert, lease.weighed.waits_s) == ("b", {"b": 0.0})


def test_who_waits_hears_of_the_deadline_when_it_comes():
    core = Core([remote("a", concurrency=1)], 0, 0.0)
    core.acquire(ask("a"), 0.0)
    core.acquire(ask("a", request_id="w", deadline=3.0), 0.0)
    assert core.next_wake == 3.0
    core.tick(3.0)
    assert happened(core) == ["refuse w DeadlineExceeded"]
    assert core.weigh(["a"], 3.0).waits_s == {"a": 1.0}


def test_after_its_deadline_a_request_is_not_even_tried():
    core = Core([remote("a")], 0, 0.0)
    with pytest.raises(DeadlineExceeded):
        core.acquire(ask("a", deadline=1.0), 1.0)


def test_experts_that_are_not_in_the_fleet_can_not_serve():
    core = Core([remote("a")], 0, 0.0)
    with pytest.raises(NoCapacity):
        core.acquire(ask("gone"), 0.0)
    assert core.acquire(ask("gone", "a"), 0.0).expert == "a"


def test_closing_refuses_who_waits_and_who_comes():
    core = Core([remote("a", concurrency=1)], 0, 0.0)
    lease = core.acquire(ask("a"), 0.0)
    core.acquire(ask("a", request_id="w"), 0.0)
    core.close(1.0)
    assert happened(core) == ["refuse w NoCapacity"]
    with pytest.raises(NoCapacity):
        core.acquire(ask("a"), 1.0)
    core.release(lease, LEFT, 2.0)


def test_deadlines_of_requests_long_served_are_forgotten():
    core = Core([remote("a", concurrency=1)], 0, 0.0)
    for i in range(3000):
        lease = core.acquire(ask("a", deadline=1e6 + i), 0.0)
        waiter = core.acquire(ask("a", deadline=1e6), 0.0)
        core.release(lease, OK, 0.0)
        core.cancel(waiter, 0.0)
        for action in core.take_actions():
            core.release(action.lease, OK, 0.0)
    assert core.next_wake == float("inf")


def test_load_spreads_over_equal_experts_by_their_speed():
    world = World([remote("a", concurrency=1), remote("b", concurrency=3)], 0, service_s=1.0)
    for i in range(80):
        world.arrive(i * 0.25, ask("a", "b", mu=0.1, step=0.0, request_id=f"r{i}"))
    world.run()
    share = Counter(served.expert for served in world.served)
    assert len(world.served) == 80
    assert max(served.wait_s for served in world.served) <= 1.0
    assert share["b"] > share["a"]
