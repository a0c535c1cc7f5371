"""What a panel's members are on record for, where they write one text together."""

from random import Random

from orchestrator.routing.colleagues import QueryColleagues
from orchestrator.routing.dispatch import Dispatcher
from orchestrator.routing.recording import open_decision
from orchestrator.types import Usage
from tests.support.queries import chat_query
from tests.support.service import service_of

BASE = {"name": "base", "backend": "echo", "price": {"output": 1.0}}
POET = {"name": "poet", "backend": "persona", "base": "base", "system": "You are a poet.", "price": {"output": 5.0}}


async def test_who_shares_a_seat_is_on_record_and_charged_at_its_own_price(tmp_path):
    async with service_of(tmp_path, BASE, POET) as service:
        query, scheduler = chat_query("Hello"), service.scheduler
        decision = open_decision(query)
        colleagues = QueryColleagues(Dispatcher(scheduler, Random(0)).asker, scheduler, query, service.fleet, decision)
        async with colleagues.seat("base", purpose="answer"):
            with colleagues.share("poet", purpose="answer"):
                colleagues.charge("base", Usage(0, 10))
                colleagues.charge("poet", Usage(0, 10))
                assert [status.leases for status in scheduler.status()] == [1, 0]
        costs = [(attempt.expert, attempt.outcome, round(attempt.cost_usd * 1e6)) for attempt in decision.attempts]
        assert costs == [("base", "ok", 10), ("poet", "ok", 50)]
        assert round(decision.cost_usd * 1e6) == 60
        assert [status.leases for status in scheduler.status()] == [0, 0]
