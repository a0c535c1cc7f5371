"""Where a request is tried again that has failed on a node of a cluster."""

from __future__ import annotations

from random import Random

import pytest

from orchestrator.errors import AllExpertsFailed
from orchestrator.routing.dispatch import Dispatcher
from orchestrator.routing.recording import open_decision
from orchestrator.scheduler.base import Lease, LeaseOutcome, LeaseRequest
from routers.policy import Choice, Plan
from tests.support.pipeline import FakeScheduler
from tests.support.queries import chat_query
from tests.support.service import openai_expert, service_of
from tests.support.upstream import refusing_url


class Nodes(FakeScheduler):
    """Gives leases on one node after the other."""

    def __init__(self, *nodes: str) -> None:
        super().__init__()
        self.nodes = list(nodes)
        self.tried: list[tuple[str, ...]] = []

    async def acquire(self, request: LeaseRequest) -> Lease:
        self.tried.append(request.tried)
        return Lease(request.id, request.candidates[0].expert, None, 0.0, node=self.nodes.pop(0))

    def release(self, lease: Lease, outcome: LeaseOutcome) -> None:
        assert outcome.ok is False


async def test_the_scheduler_is_told_where_a_request_has_failed(tmp_path):
    with refusing_url() as url:
        async with service_of(tmp_path, openai_expert("a", url), openai_expert("b", url)) as service:
            query, plan, scheduler = chat_query(), Plan((Choice("a", 1.0), Choice("b", 0.0))), Nodes("n1", "", "n2")
            dispatcher = Dispatcher(scheduler, Random(0))
            with pytest.raises(AllExpertsFailed):
                await dispatcher.ask(query, service.fleet, plan, open_decision(query), max_attempts=3)
    assert scheduler.tried == [(), ("n1",), ("n1",)]
