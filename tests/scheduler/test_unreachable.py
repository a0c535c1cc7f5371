"""Nodes that who asks can't reach, though the scheduler can."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from orchestrator.errors import NoCapacity
from orchestrator.scheduler.base import Lease, LeaseRequest
from orchestrator.scheduler.state import Waiter
from tests.support.places import OK, ask, cluster, happened, local, on, remote, warm


def cut_off(request: LeaseRequest, *nodes: str) -> LeaseRequest:
    return replace(request, unreachable=nodes)


def test_a_replica_that_can_not_be_reached_is_none_for_who_asks_and_one_for_others():
    core = cluster(on("n1", local("a", 60)), on("n2", local("a", 60)))
    warm(core, "a", "n1")
    waiter = core.acquire(cut_off(ask("a"), "n1"), 0.0)
    assert isinstance(waiter, Waiter)
    assert waiter.bound.place.node == "n2"
    assert happened(core) == ["load a"]
    other = core.acquire(ask("a", request_id="other"), 0.0)
    assert isinstance(other, Lease)
    assert other.node == "n1"


def test_another_candidate_is_asked_whatever_the_one_that_can_not_be_reached_is_worth():
    core = cluster(on("n1", local("a", 60)), remote("b"))
    warm(core, "a", "n1")
    lease = core.acquire(cut_off(ask("a", "b"), "n1"), 0.0)
    assert isinstance(lease, Lease)
    assert lease.expert == "b"
    assert set(lease.weighed.waits_s) == {"b"}


def test_without_another_it_is_refused_and_told_why():
    core = cluster(on("n1", local("a", 60)))
    with pytest.raises(NoCapacity, match="can't be reached from the gateway that was asked") as refused:
        core.acquire(cut_off(ask("a"), "n1"), 0.0)
    assert refused.value.retry_after_s
    assert happened(core) == []


def test_who_waits_for_another_is_not_given_one_that_it_can_not_reach():
    core = cluster(on("n1", local("a", 60)), on("n2", local("a", 60)))
    warm(core, "a", "n1", "n2")
    first = core.acquire(cut_off(ask("a", request_id="first"), "n2"), 0.0)
    second = core.acquire(cut_off(ask("a", request_id="second"), "n1"), 0.0)
    assert isinstance(core.acquire(cut_off(ask("a", request_id="third"), "n1"), 0.0), Waiter)
    assert isinstance(first, Lease)
    assert isinstance(second, Lease)
    core.release(first, OK, 1.0)
    assert happened(core) == []
    core.release(second, OK, 2.0)
    assert happened(core) == ["grant third a"]
