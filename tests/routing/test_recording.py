"""What the record says of a request is what happened: whose time it was, who was tried, and how it ended for the client."""

import asyncio
import json
import random
import sys
import time

import aiohttp
import pytest

from orchestrator.errors import AllExpertsFailed
from orchestrator.gateway.lifecycle import Lifecycle
from orchestrator.routing.dispatch import Dispatcher
from orchestrator.routing.recording import note_overhead, open_decision
from orchestrator.scheduler.base import LeaseOutcome
from orchestrator.types import Attempt
from routers.policy import Choice, Plan
from tests.support.live import KEY, serving
from tests.support.queries import chat_query
from tests.support.service import openai_expert, service_of
from tests.support.upstream import DONE, chunk, event, replies, running_upstream, sends

ECHO = {"name": "echo", "backend": "echo"}
BROKEN = {"name": "broken", "backend": "command", "command": [sys.executable, "-c", "exit(3)", "{port}"]}


class Late(random.Random):
    """Dice that always draw nearly the longest back-off."""

    def random(self) -> float:
        return 0.9


async def test_a_back_off_is_waiting_and_no_overhead(tmp_path):
    async with (
        running_upstream() as upstream,
        service_of(tmp_path, openai_expert("only", upstream.base_url)) as service,
    ):
        upstream.script.extend(["500", "500", "ok"])
        query, plan = chat_query(model="only"), Plan((Choice("only", 0.0),))
        decision = open_decision(query)
        dispatcher = Dispatcher(service.scheduler, Late())
        _, lease = await dispatcher.ask(query, service.fleet, plan, decision, max_attempts=3)
        note_overhead(decision, query)
        service.scheduler.release(lease, LeaseOutcome(ok=True, duration_s=0.0))
    first, second, third = decision.attempts
    assert first.wait_s < 0.2 <= second.wait_s
    assert third.wait_s >= 0.4
    assert decision.wait_ms >= 600
    assert decision.overhead_ms < 550


def test_what_overlaps_counts_once_and_a_panel_is_what_its_members_are():
    query = chat_query(received_at=time.monotonic() - 3.0)
    decision = open_decision(query)
    decision.attempts = [
        Attempt("a", "server_error", 0.0, 1.0, began_s=0.1),
        Attempt("b", "ok", 0.0, 1.5, began_s=0.1),
        Attempt("a", "ok", 0.5, 0.5, began_s=1.2),
        Attempt("panel/both", "ok", 0.0, 2.9, purpose="panel", began_s=0.0),
    ]
    note_overhead(decision, query)
    assert 900 <= decision.overhead_ms < 1000


async def test_a_load_that_fails_is_an_attempt(tmp_path):
    async with service_of(tmp_path, BROKEN, ECHO) as service:
        query = chat_query(model="broken")
        with pytest.raises(AllExpertsFailed, match="broken: not_loaded"):
            await service.pipeline.answer(query)
        decision = await service.ledger.decision(query.id)
    [attempt] = decision.attempts
    assert (attempt.expert, attempt.outcome, attempt.latency_s) == ("broken", "not_loaded", 0.0)
    assert "exited with code 3" in attempt.message
    assert decision.wait_ms == pytest.approx(attempt.wait_s * 1000)
    assert attempt.wait_s > 0


async def test_an_interrupted_request_is_not_taken_for_a_client_that_left(tmp_path):
    lifecycle, query = Lifecycle(), chat_query(model="slow")

    async def request(service):
        lifecycle.enter()
        await service.pipeline.answer(query)

    async with (
        running_upstream() as upstream,
        service_of(tmp_path, openai_expert("slow", upstream.base_url, "hang")) as service,
    ):
        task = asyncio.create_task(request(service))
        await upstream.arrived.wait()
        await lifecycle.drain(limit_s=0.0)
        await asyncio.gather(task, return_exceptions=True)
        decision = await service.ledger.decision(query.id)
    assert (decision.status, decision.error) == (503, "The service is shutting down.")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"input": "Hi"}),
        ("/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}),
    ],
)
async def test_an_answer_that_can_not_be_translated_is_recorded_as_the_client_saw_it(tmp_path, path, body, stream):
    async with serving(tmp_path) as gateway, aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as http:
        gateway.upstream.usual = _speaks_in_numbers
        async with http.post(f"{gateway.url}{path}", json={"model": "large", "stream": stream, **body}) as response:
            said = await response.text()
            assert response.status == (200 if response.content_type == "text/event-stream" else 502)
            id_ = response.headers["x-switchyard-decision-id"]
        assert "not a chat completion" in said
        async with http.get(f"{gateway.url}/v1/decisions/{id_}") as response:
            decision = await response.json()
    assert decision["status"] == 502
    assert decision["error"] == "the expert's answer is not a chat completion"


async def _speaks_in_numbers(exchange):
    said = {"content": 7}
    if exchange.streamed:
        return await sends([event(chunk(exchange, said, "stop")), DONE])(exchange)
    return await replies(json.dumps({**chunk(exchange, {}), "choices": [{"index": 0, "message": said}]}).encode())(
        exchange
    )
