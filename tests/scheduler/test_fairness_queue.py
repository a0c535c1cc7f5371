"""The order of those who wait: keys in turn, bulk work behind, everybody within a bound."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from dataclasses import dataclass
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduler.fairness import BULK_LAG, Kind, Rank, RankedQueue, Turns


@dataclass(eq=False)
class Request:
    ticket: int
    ranks: dict[Turns, Rank]
    kind: Kind
    arrived: float = 0.0


class Line:
    """One expert, whose queue never has room for two."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.queue = RankedQueue[Request](self.turns)
        self._tickets = count()

    def come(self, tenant: str = "", *, bulk: bool = False) -> Request:
        ticket, kind = next(self._tickets), Kind(tenant, bulk)
        request = Request(ticket, {self.turns: self.turns.rank(kind, ticket)}, kind)
        self.queue.add(request)
        return request

    def leave(self, request: Request, *, served: bool = False) -> None:
        self.queue.remove(request)
        self.turns.leave(request.kind, request.ticket, served=served)

    def serve(self) -> Request:
        head = self.queue.head
        assert head is not None
        self.leave(head, served=True)
        return head


comings = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30)


def test_one_tenant_is_served_in_order_of_arrival():
    line = Line()
    came = [line.come() for _ in range(5)]
    assert [line.serve() for _ in came] == came


def test_a_tenant_with_many_requests_delays_anothers_first_by_one():
    line = Line()
    for _ in range(100):
        line.come("flood")
    other = line.come("other")
    assert line.queue.ahead(other) == 1
    assert [line.serve().kind.tenant for _ in range(4)] == ["flood", "other", "flood", "flood"]


def test_who_was_away_does_not_save_turns_up():
    line = Line()
    for _ in range(50):
        line.come("busy")
    for _ in range(40):
        line.serve()
    for _ in range(10):
        line.come("returning")
    assert [line.serve().kind.tenant for _ in range(6)] == ["returning", "busy"] * 3


def test_who_went_away_gives_its_turns_back():
    line = Line()
    for _ in range(100):
        line.come("flood")
    for gone in [line.come("returning") for _ in range(50)]:
        line.leave(gone)
    assert line.queue.ahead(line.come("returning")) == 1


def test_interactive_requests_go_before_bulk_work_that_came_first():
    line = Line()
    for _ in range(10):
        line.come("shop", bulk=True)
    line.come("shop")
    assert not line.serve().kind.bulk


def test_bulk_work_is_not_starved():
    line = Line()
    bulk = line.come("shop", bulk=True)
    served = 0
    line.come("shop")
    while line.queue.head is not bulk and served <= BULK_LAG:
        line.come("shop")
        line.serve()
        served += 1
    assert served == BULK_LAG


def test_every_request_of_bulk_work_gives_way_again():
    line = Line()
    for _ in range(10):
        line.come("shop", bulk=True)
    order = []
    for _ in range(3 * int(BULK_LAG) + 3):
        line.come("shop")
        order.append(line.serve())
    places = [place for place, request in enumerate(order) if request.kind.bulk]
    assert places == [BULK_LAG, 2 * BULK_LAG + 1, 3 * BULK_LAG + 2]


def test_who_waits_costs_no_memory_for_those_who_have_been_served():
    line = Line()
    line.come("stuck")
    tracemalloc.start()
    for ticket in range(1, 10_001):
        line.turns.rank(Kind("shop", bulk=False), ticket)
        line.turns.leave(Kind("shop", bulk=False), ticket, served=True)
    remembered_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert remembered_bytes < 10_000


def test_who_is_not_here_can_not_be_removed():
    line = Line()
    request = line.come()
    line.leave(request)
    with pytest.raises(KeyError):
        line.queue.remove(request)


@given(comings)
def test_everybody_is_told_right_how_many_come_before(drawn):
    line = Line()
    came = [line.come(tenant, bulk=bulk) for tenant, bulk in drawn]
    told = {request: line.queue.ahead(request) for request in came}
    assert {line.serve(): place for place in range(len(came))} == told


@given(comings)
def test_requests_of_a_tenant_are_counted(drawn):
    line = Line()
    came = [line.come(tenant, bulk=bulk) for tenant, bulk in drawn]
    for request in came[::2]:
        line.leave(request)
    for tenant in "abc":
        for bulk in (False, True):
            left = [r for r in came[1::2] if r.kind == (tenant, bulk)]
            assert line.queue.count(tenant, bulk=bulk) == len(left)


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_while_a_tenant_waits_nobody_is_served_two_more_than_it(drawn):
    line = Line()
    for tenant in drawn:
        line.come(tenant)
    served = dict.fromkeys(drawn, 0)
    for _ in drawn:
        served[line.serve().kind.tenant] += 1
        waiting = {request.kind.tenant for request in line.queue}
        assert all(served[tenant] >= max(served.values()) - 1 for tenant in waiting)


runs = st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 12), st.integers(0, 12))


@given(st.lists(runs, max_size=12))
def test_nobody_waits_for_more_turns_than_there_were_before_it(drawn):
    """Of any tenant's requests at most two more go before it than its own that stood there, however they come and are served."""
    line = Line()
    allowed: dict[Request, int] = {}
    passed: dict[Request, Counter[Kind]] = {}
    for tenant, bulk, coming, served in drawn:
        for _ in range(coming):
            before = line.queue.count(tenant, bulk=bulk)
            request = line.come(tenant, bulk=bulk)
            allowed[request], passed[request] = before + 2, Counter()
        for _ in range(min(served, len(line.queue))):
            head = line.serve()
            del passed[head]
            for request, others in passed.items():
                others[head.kind] += 1
                yields = BULK_LAG if request.kind.bulk and not head.kind.bulk else 1
                assert others[head.kind] <= allowed[request] * yields
