"""The order of those who wait: keys in turn, bulk work behind, everybody within a bound."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduler.fairness import BULK_LAG, Rank, RankedQueue, Turns


@dataclass(eq=False)
class Request:
    rank: Rank
    tenant: str
    bulk: bool
    arrived: float = 0.0


class Line:
    """One expert, whose queue never has room for two."""

    def __init__(self) -> None:
        self.turns, self.queue = Turns(), RankedQueue[Request]()
        self._tickets = count()

    def come(self, tenant: str = "", *, bulk: bool = False) -> Request:
        rank = self.turns.rank(tenant, bulk=bulk, ticket=next(self._tickets))
        request = Request(rank, tenant, bulk)
        self.queue.add(request)
        return request

    def leave(self, request: Request) -> None:
        self.queue.remove(request)
        self.turns.leave(request.rank.ticket)

    def serve(self) -> Request:
        head = self.queue.head
        assert head is not None
        self.leave(head)
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
    assert [line.serve().tenant for _ in range(4)] == ["flood", "other", "flood", "flood"]


def test_who_was_away_does_not_save_turns_up():
    line = Line()
    for _ in range(50):
        line.come("busy")
    for _ in range(40):
        line.serve()
    for _ in range(10):
        line.come("returning")
    assert [line.serve().tenant for _ in range(6)] == ["busy", "returning"] * 3


def test_interactive_requests_go_before_bulk_work_that_came_first():
    line = Line()
    for _ in range(10):
        line.come("shop", bulk=True)
    line.come("shop")
    assert not line.serve().bulk


def test_bulk_work_is_not_starved():
    line = Line()
    bulk = line.come("shop", bulk=True)
    served = 0
    line.come("shop")
    while line.queue.head is not bulk:
        line.come("shop")
        line.serve()
        served += 1
    assert served <= BULK_LAG + 1


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
            left = [r for r in came[1::2] if (r.tenant, r.bulk) == (tenant, bulk)]
            assert line.queue.count(tenant, bulk=bulk) == len(left)


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_while_a_tenant_waits_nobody_is_served_two_more_than_it(drawn):
    line = Line()
    for tenant in drawn:
        line.come(tenant)
    served = dict.fromkeys(drawn, 0)
    for _ in drawn:
        served[line.serve().tenant] += 1
        waiting = {request.tenant for request in line.queue}
        assert all(served[tenant] >= max(served.values()) - 1 for tenant in waiting)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.booleans()), min_size=1, max_size=120))
def test_nobody_waits_for_more_turns_than_there_were_before_it(events):
    """However others come and are served meanwhile: at most as many of each tenant as stood before it, and its lag."""
    line = Line()
    ahead_of_it: dict[Request, int] = {}
    for tenant, bulk, serve in events:
        request = line.come(tenant, bulk=bulk)
        ahead_of_it[request] = 0
        if serve:
            served = line.serve()
            del ahead_of_it[served]
            for waiting in ahead_of_it:
                ahead_of_it[waiting] += 1
    kinds = 8
    for request, passed in ahead_of_it.items():
        assert passed <= kinds * (request.rank.turn + BULK_LAG + 2)
