"""When a breaker opens, for how long, and what closes it; and what the core does with requests meanwhile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import RateLimited
from orchestrator.scheduler.base import Lease, LeaseOutcome
from orchestrator.scheduler.core import Core
from orchestrator.scheduler.health import Breaker
from orchestrator.scheduler.state import Waiter
from tests.support.places import FAILED, LEFT, OK, ask, happened, local, remote


def took(seconds: float) -> LeaseOutcome:
    return LeaseOutcome(ok=True, duration_s=seconds, first_byte_s=seconds)


def told_to_wait(seconds: float) -> LeaseOutcome:
    return LeaseOutcome(ok=False, duration_s=0.1, retry_after_s=seconds)


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(lambda: 0.0)
    for _ in range(3):
        breaker.record(FAILED, at)
    return breaker


def test_three_failures_in_a_row_open_it_for_five_seconds():
    breaker = opened()
    assert breaker.state(4.9) == "open"
    assert not breaker.allows(4.9)
    assert breaker.state(5.0) == "half_open"
    assert breaker.allows(5.0)


def test_a_success_in_between_starts_the_count_anew():
    breaker = Breaker()
    for outcome in (FAILED, FAILED, OK, FAILED, FAILED):
        breaker.record(outcome, 0.0)
    assert breaker.closed


def test_half_of_the_recent_ones_failing_opens_it():
    breaker = Breaker()
    for _ in range(5):
        breaker.record(OK, 0.0)
        breaker.record(FAILED, 0.0)
    assert not breaker.closed


def test_failures_of_more_than_a_minute_ago_are_forgotten():
    breaker = Breaker()
    for at in range(0, 100, 20):
        breaker.record(OK, at)
        breaker.record(FAILED, at)
    assert breaker.closed


def test_what_says_nothing_about_health_changes_nothing():
    breaker = Breaker()
    for _ in range(10):
        breaker.record(LEFT, 0.0)
    assert breaker.closed


def test_one_probe_at_a_time_and_its_success_closes():
    breaker = opened()
    assert breaker.begin()
    assert not breaker.allows(6.0)
    breaker.record(OK, 6.0, probe=True)
    assert breaker.closed


def test_a_failed_probe_opens_it_for_twice_as_long_up_to_a_minute():
    breaker, now, pauses = opened(), 0.0, []
    for _ in range(6):
        pauses.append(breaker.open_until - now)
        now = breaker.open_until
        breaker.begin()
        breaker.record(FAILED, now, probe=True)
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_a_probe_that_says_nothing_leaves_room_for_the_next():
    breaker = opened()
    breaker.begin()
    breaker.record(LEFT, 6.0, probe=True)
    assert breaker.allows(6.0)
    assert not breaker.closed


def test_leases_from_before_it_opened_neither_close_nor_prolong_it():
    breaker = opened()
    until = breaker.open_until
    breaker.record(OK, 1.0)
    breaker.record(FAILED, 1.0)
    assert not breaker.closed
    assert breaker.open_until == until


def test_back_offs_are_jittered():
    assert len({round(_open_until(u), 6) for u in (0.0, 0.3, 0.9)}) == 3


def _open_until(u: float) -> float:
    breaker = Breaker(lambda: u)
    for _ in range(3):
        breaker.record(FAILED, 0.0)
    return breaker.open_until


def test_retry_after_opens_it_at_once_for_that_long():
    breaker = Breaker()
    breaker.record(told_to_wait(2.0), 0.0)
    assert not breaker.allows(1.9)
    assert not breaker.admits(1.9)
    assert breaker.allows(2.0)


def test_retry_after_is_a_minimum_for_the_back_off():
    breaker = Breaker(lambda: 0.0)
    for _ in range(2):
        breaker.record(FAILED, 0.0)
    breaker.record(told_to_wait(30.0), 0.0)
    assert breaker.open_until == 30.0


def test_a_retry_after_beyond_reason_is_cut():
    breaker = Breaker()
    breaker.record(told_to_wait(1e9), 0.0)
    assert breaker.open_until == 600.0


def test_answers_far_slower_than_its_own_baseline_open_it():
    breaker = Breaker()
    for _ in range(50):
        breaker.record(took(0.5), 0.0)
    slow = [breaker.record(took(8.0), 0.0) for _ in range(15)]
    assert slow.index(True) == 9  # when half of the last twenty are slow, not before


def test_slow_experts_are_not_unhealthy_when_they_always_were():
    breaker = Breaker()
    for i in range(100):
        breaker.record(took(20.0 + i % 7), 0.0)
    assert breaker.closed


def test_whole_answers_beside_streams_do_not_open_it():
    """Their time is that of the generation: a healthy expert has both, 0.2 s to the first byte and 6 s to the last."""
    breaker = Breaker()
    streamed, whole = LeaseOutcome(ok=True, duration_s=6.0, first_byte_s=0.2), LeaseOutcome(ok=True, duration_s=6.0)
    for outcome in [streamed] * 100 + [whole] * 100 + [streamed, whole] * 100:
        assert not breaker.record(outcome, 0.0)


def test_whole_answers_do_not_hide_that_streams_begin_late():
    breaker = Breaker()
    for outcome in [took(0.2)] * 20 + [LeaseOutcome(ok=True, duration_s=6.0), took(8.0)] * 15:
        breaker.record(outcome, 0.0)
    assert not breaker.closed


def test_fast_answers_have_a_floor_below_which_nothing_is_slow():
    breaker = Breaker()
    for latency_s in [0.001] * 50 + [0.9] * 50:
        breaker.record(took(latency_s), 0.0)
    assert breaker.closed


@given(st.lists(st.sampled_from([OK, FAILED, LEFT, told_to_wait(3.0), took(40.0)]), max_size=80))
def test_whatever_happened_it_lets_somebody_through_in_the_end(outcomes):
    breaker = Breaker()
    for i, outcome in enumerate(outcomes):
        if breaker.allows(i):
            breaker.record(outcome, i, probe=breaker.begin())
    assert breaker.allows(len(outcomes) + 100.0)


def sicken(core: Core, name: str, now: float = 0.0) -> None:
    while next(status for status in core.status(now) if status.expert == name).breaker == "closed":
        core.release(core.acquire(ask(name), now), FAILED, now)


def test_requests_go_elsewhere_while_an_expert_is_unhealthy():
    core = Core([remote("a"), remote("b")], 0, 0.0)
    sicken(core, "a")
    assert core.acquire(ask("a", "b"), 1.0).expert == "b"
    assert core.acquire(ask("a", "b"), 7.0).expert == "a"  # the probe
    assert core.acquire(ask("a", "b"), 7.0).expert == "b"


def test_waiters_leave_an_expert_that_becomes_unhealthy():
    core = Core([remote("a", concurrency=3), remote("b")], 0, 0.0)
    leases = [core.acquire(ask("a"), 0.0) for _ in range(3)]
    core.acquire(ask("a", "b", request_id="w"), 0.0)
    core.release(leases[0], told_to_wait(9.0), 0.1)
    assert happened(core) == ["grant w b"]


def test_waiters_that_leave_for_an_expert_that_is_not_in_memory_have_it_loaded():
    core = Core([remote("a", concurrency=2), local("b", 10)], 10, 0.0)
    lease, _ = (core.acquire(ask("a"), 0.0) for _ in range(2))
    core.acquire(ask("a", "b", request_id="w"), 0.0)
    core.release(lease, told_to_wait(9.0), 0.1)
    assert happened(core) == ["load b"]


def test_when_nobody_is_healthy_a_probe_is_better_than_an_error():
    core = Core([remote("a"), remote("b")], 0, 0.0, uniform=lambda: 0.0)
    sicken(core, "b", 0.0)
    sicken(core, "a", 1.0)
    probe = core.acquire(ask("a", "b"), 2.0)
    assert isinstance(probe, Lease)
    assert probe.expert == "b"  # the one that reopens soonest
    assert isinstance(core.acquire(ask("b", request_id="w"), 2.0), Waiter)
    core.release(probe, OK, 3.0)
    assert happened(core) == ["grant w b"]


def test_while_everybody_fails_each_request_is_one_probe():
    core = Core([remote("a")], 0, 0.0)
    sicken(core, "a")
    probe = core.acquire(ask("a"), 1.0)
    core.acquire(ask("a", request_id="w1"), 1.0)
    core.acquire(ask("a", request_id="w2"), 1.0)
    core.release(probe, FAILED, 1.5)
    assert happened(core) == ["grant w1 a"]


def test_an_expert_that_named_a_time_is_not_probed_before_it():
    core = Core([remote("a")], 0, 0.0)
    core.release(core.acquire(ask("a"), 0.0), told_to_wait(20.0), 0.0)
    core.acquire(ask("a", request_id="w"), 1.0)
    core.tick(10.0)
    assert happened(core) == []
    assert core.next_wake == 20.0
    core.tick(20.0)
    assert happened(core) == ["grant w a"]


def test_a_probe_comes_when_the_named_time_is_over_even_if_the_back_off_is_not():
    core = Core([remote("a", concurrency=3)], 0, 0.0, uniform=lambda: 0.0)
    leases = [core.acquire(ask("a"), 0.0) for _ in range(3)]
    for lease, outcome in zip(leases, (FAILED, FAILED, told_to_wait(3.0)), strict=True):
        core.release(lease, outcome, 0.0)
    core.acquire(ask("a", request_id="w"), 0.0)
    core.tick(1.0)
    assert core.next_wake == 3.0
    core.tick(3.0)
    assert happened(core) == ["grant w a"]


def test_a_named_time_beyond_the_deadline_is_a_429_with_that_time():
    core = Core([remote("a")], 0, 0.0)
    core.release(core.acquire(ask("a"), 0.0), told_to_wait(20.0), 0.0)
    with pytest.raises(RateLimited) as caught:
        core.acquire(ask("a", deadline=10.0), 5.0)
    assert caught.value.retry_after_s == 15.0


def test_waiters_elsewhere_come_back_when_a_healthier_expert_reopens():
    core = Core([remote("a", concurrency=1), remote("b")], 0, 0.0, uniform=lambda: 0.0)
    sicken(core, "b", 0.0)
    core.acquire(ask("a"), 0.0)
    core.acquire(ask("a", "b", mu=1.0, request_id="w"), 0.0)
    core.tick(2.0)
    assert core.next_wake == 5.0
    core.tick(5.0)
    assert happened(core) == ["grant w b"]


def test_the_expected_wait_of_an_unhealthy_expert_includes_its_back_off():
    core = Core([remote("a")], 0, 0.0, uniform=lambda: 0.0)
    sicken(core, "a")
    assert core.weigh(["a"], 2.0).waits_s == {"a": 3.0}
    assert core.status(2.0)[0].breaker == "open"
