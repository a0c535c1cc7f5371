"""One expert's queue: tenants in turn, bulk last."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduler.fairness import FairQueue


@dataclass(eq=False)
class Request:
    ticket: int
    tenant: str = ""
    bulk: bool = False


requests = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30).map(
    lambda drawn: [Request(ticket, tenant, bulk) for ticket, (tenant, bulk) in enumerate(drawn)]
)


def queue_of(made: list[Request]) -> FairQueue[Request]:
    queue: FairQueue[Request] = FairQueue()
    for request in made:
        queue.add(request)
    return queue


def serve_all(queue: FairQueue[Request]) -> list[Request]:
    served = []
    while (head := queue.head) is not None:
        queue.remove(head, served=True)
        served.append(head)
    return served


def test_one_tenant_is_served_in_order_of_arrival():
    assert [r.ticket for r in serve_all(queue_of([Request(2), Request(0), Request(1)]))] == [0, 1, 2]


def test_a_tenant_with_many_requests_delays_anothers_first_by_one():
    flood = [Request(ticket, "flood") for ticket in range(100)]
    served = serve_all(queue_of([*flood, Request(100, "other")]))
    assert served.index(next(r for r in served if r.tenant == "other")) == 1


def test_who_comes_anew_takes_the_last_turn():
    queue = queue_of([Request(0, "a"), Request(1, "b"), Request(2, "b")])
    queue.add(Request(3, "c"))
    assert [r.tenant for r in serve_all(queue)] == ["a", "b", "c", "b"]


def test_who_went_away_has_not_used_its_tenants_turn():
    first, queue = Request(0, "a"), queue_of([])
    for request in (first, Request(1, "a"), Request(2, "b")):
        queue.add(request)
    queue.remove(first)
    assert [r.ticket for r in serve_all(queue)] == [1, 2]


def test_who_is_not_here_can_not_be_removed():
    queue = queue_of([Request(0), Request(2)])
    with pytest.raises(KeyError):
        queue.remove(Request(1))


@given(requests)
def test_bulk_comes_last_and_everybody_is_told_right_how_many_come_before(made):
    queue = queue_of(made)
    told = {request: queue.ahead(request) for request in made}
    in_order = list(queue)
    served = serve_all(queue)
    assert served == in_order
    assert {request: at for at, request in enumerate(served)} == told
    assert [r.bulk for r in served] == sorted(r.bulk for r in served)


@given(requests)
def test_while_a_tenant_waits_nobody_else_is_served_twice_more_than_it(made):
    queue = queue_of([request for request in made if not request.bulk])
    waiting = {request.tenant: 0 for request in queue}
    while (head := queue.head) is not None:
        queue.remove(head, served=True)
        waiting[head.tenant] += 1
        still = {request.tenant for request in queue}
        assert all(waiting[tenant] >= max(waiting.values()) - 1 for tenant in still)


@given(requests, st.sampled_from("abcd"), st.booleans())
def test_who_would_join_is_told_the_place_it_gets(made, tenant, bulk):
    queue, newcomer = queue_of(made), Request(1000, tenant, bulk)
    told = queue.ahead(newcomer)
    queue.add(newcomer)
    assert queue.ahead(newcomer) == told
