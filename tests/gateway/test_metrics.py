"""/metrics: what is counted, under which labels, and how fast."""

from __future__ import annotations

import timeit

from prometheus_client.parser import text_string_to_metric_families

from orchestrator.errors import AllExpertsFailed, UnknownModel
from orchestrator.gateway.metrics import Metrics
from orchestrator.types import Decision
from tests.support.gateway import HELLO, client_of, make_context
from tests.support.pipeline import FakePipeline, FakeScheduler, make_status

CHAT = "/v1/chat/completions"


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(text: str, name: str, **labels: str) -> float:
    return samples(text).get((f"switchyard_{name}", frozenset(labels.items())), 0.0)


async def test_an_answered_request_is_counted():
    async with client_of(make_context()) as client:
        await client.post(CHAT, json=HELLO)
        text = (await client.get("/metrics")).text
    assert value(text, "requests_total", policy="auto", expert="small", status="200") == 1
    assert value(text, "overhead_seconds_sum", policy="auto") == 0.00025
    assert value(text, "wait_seconds_count", expert="small") == 1
    assert value(text, "tokens_total", expert="small", direction="input") == 10
    assert value(text, "tokens_total", expert="small", direction="output") == 5


async def test_a_failed_request_is_counted_for_its_policy():
    async with client_of(make_context(FakePipeline(error=AllExpertsFailed("all failed")))) as client:
        await client.post(CHAT, json=HELLO)
        text = (await client.get("/metrics")).text
    assert value(text, "requests_total", policy="auto", expert="", status="502") == 1


async def test_what_a_client_made_up_is_no_label():
    async with client_of(make_context(FakePipeline(error=UnknownModel("no such model")))) as client:
        await client.post(CHAT, json=HELLO | {"model": "made-up"})
        await client.post(CHAT, json={"model": "made-up"})
        text = (await client.get("/metrics")).text
    assert "made-up" not in text
    assert value(text, "requests_total", policy="", expert="", status="404") == 1
    assert value(text, "requests_total", policy="", expert="", status="400") == 1


async def test_other_routes_are_not_counted():
    async with client_of(make_context()) as client:
        await client.get("/v1/models")
        text = (await client.get("/metrics")).text
    assert "requests_total{" not in text


async def test_states_of_the_experts():
    scheduler = FakeScheduler(statuses=[make_status("small", "loading", waiting=2, breaker="open")])
    async with client_of(make_context(scheduler=scheduler)) as client:
        text = (await client.get("/metrics")).text
    assert value(text, "expert_state", expert="small", state="loading") == 1
    assert value(text, "expert_state", expert="small", state="ready") == 0
    assert value(text, "expert_waiting", expert="small") == 2
    assert value(text, "expert_breaker_open", expert="small") == 1


async def test_requests_in_flight():
    pipeline = FakePipeline()
    context = make_context(pipeline)
    async with client_of(context) as client:
        task = context.lifecycle.enter()
        text = (await client.get("/metrics")).text
        context.lifecycle.leave(task)
        assert value(text, "in_flight_requests") >= 1


def test_observing_takes_microseconds():
    metrics = Metrics(lambda: ())
    decision = Decision("sw-1", 1.0, "chat", "auto", "auto", "Hello", "anonymous", expert="small", overhead_ms=0.2)
    best_s = min(timeit.repeat(lambda: metrics.observe("auto", 200, decision), number=200, repeat=20)) / 200
    assert best_s < 20e-6  # 10 on a machine that does nothing else
