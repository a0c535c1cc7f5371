"""Demand counted from decisions."""

import pytest

from orchestrator.scheduler.placement.base import Demand, Together
from orchestrator.scheduler.placement.measuring import Home, Traffic
from orchestrator.types import Attempt, Decision

GB = 1_000_000_000
HOMES = {
    "small": Home("small", 2 * GB, concurrency=4),
    "persona": Home("small", 2 * GB, concurrency=4),
    "large": Home("large", 9 * GB, concurrency=1),
}


def decision(*attempts):
    return decision_at(0.0, *attempts)


def decision_at(created_at, *attempts):
    made = [Attempt(expert, outcome, 0.5, latency_s) for expert, outcome, latency_s in attempts]
    return Decision("sw-1", created_at, "chat", "auto", "auto", "text", "anonymous", attempts=made)


def traffic(*decisions, homes=HOMES):
    counted = Traffic(homes)
    for each in decisions:
        counted.add(each)
    return counted


def test_rates_are_per_second_and_work_is_shared_by_those_served_at_once():
    counted = traffic(decision(("small", "ok", 2.0)), decision(("small", "ok", 6.0)), decision(("large", "ok", 3.0)))
    assert counted.demands(10.0) == (Demand("small", 2 * GB, 0.2, 1.0), Demand("large", 9 * GB, 0.1, 3.0))


def test_what_waits_beyond_what_is_served_at_once_is_no_more_work():
    """Ten lines of a batch that all began at once, and were done one after the other."""
    [_, large] = traffic(*(decision(("large", "ok", 1.0 + i)) for i in range(10))).demands(10.0)
    assert large.rate_per_s * large.service_s == pytest.approx(1.0)


def test_a_server_that_declares_no_limit_does_at_once_what_it_was_seen_to_do():
    """One request a second, of 8 s each."""
    homes = {"free": Home("free", GB, concurrency=None)}
    [free] = traffic(*(decision_at(float(i), ("free", "ok", 8.0)) for i in range(100)), homes=homes).demands(100.0)
    assert free.service_s == pytest.approx(1.0)
    [alone] = traffic(decision(("free", "ok", 8.0)), homes=homes).demands(100.0)
    assert alone.service_s == pytest.approx(8.0)


def test_a_persona_counts_for_whose_weights_it_needs():
    [small, _] = traffic(decision(("persona", "ok", 4.0))).demands(1.0)
    assert small == Demand("small", 2 * GB, 1.0, 1.0)


def test_what_failed_and_who_is_elsewhere_count_nothing():
    counted = traffic(decision(("small", "timeout", 9.0), ("gpt", "ok", 1.0)))
    assert [demand.rate_per_s for demand in counted.demands(1.0)] == [0.0, 0.0]
    assert counted.together(1.0) == ()


def test_experts_that_one_request_asked_are_a_pair():
    both = decision(("large", "ok", 1.0), ("small", "ok", 1.0), ("persona", "ok", 1.0))
    [pair] = traffic(both, both, decision(("small", "ok", 1.0))).together(10.0)
    assert pair == Together(("large", "small"), pytest.approx(0.2))
