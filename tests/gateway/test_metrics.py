"""/metrics: what is counted, and under which labels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.gateway.app import create_app
from orchestrator.gateway.gathering import merged
from orchestrator.gateway.metrics import Metrics
from orchestrator.scheduler.base import MemoryStatus
from orchestrator.service import Service
from orchestrator.types import Attempt, Decision
from tests.support.gateway import HELLO, client_of, make_context
from tests.support.pipeline import FakeScheduler, make_status
from tests.support.service import openai_expert, service_of
from tests.support.upstream import running_upstream

CHAT = "/v1/chat/completions"
ECHO = {"name": "echo", "backend": "echo", "price": {"input": 1.0, "output": 1.0}}


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(text: str, name: str, **labels: str) -> float:
    return samples(text).get((f"switchyard_{name}", frozenset(labels.items())), 0.0)


def gateway_of(service: Service) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(service.gateway_context()))
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


async def metrics_after(service: Service, *bodies: dict[str, Any]) -> str:
    async with gateway_of(service) as client:
        for body in bodies:
            await client.post(CHAT, json=body)
        return (await client.get("/metrics")).text


async def test_what_policies_give_up_and_save_is_0_before_the_first_decision(tmp_path: Path):
    async with service_of(tmp_path, ECHO, policies={"cheap": {"lambda": 5}}) as service:
        for policy in ("auto", "cheap"):
            for name in ("switchyard_regret_total", "switchyard_saved_wait_seconds_total"):
                assert samples(service.metrics.render().decode())[name, frozenset({("policy", policy)})] == 0.0


async def test_an_answered_request_is_counted(tmp_path: Path):
    async with service_of(tmp_path, ECHO) as service:
        text = await metrics_after(service, HELLO)
    assert value(text, "requests_total", policy="auto", expert="echo", status="200") == 1
    assert value(text, "attempts_total", expert="echo", outcome="ok") == 1
    assert value(text, "overhead_seconds_count", policy="auto") == 1
    assert value(text, "wait_seconds_count", expert="echo") == 1
    assert value(text, "request_duration_seconds_count", expert="echo") == 1
    assert value(text, "tokens_total", expert="echo", direction="input") == 1
    assert value(text, "tokens_total", expert="echo", direction="output") == 1
    assert value(text, "cost_usd_total", expert="echo") == 2e-6


async def test_a_stream_is_counted_when_it_is_over(tmp_path: Path):
    async with service_of(tmp_path, {**ECHO, "capabilities": ["streaming"]}) as service:
        text = await metrics_after(service, HELLO | {"stream": True})
    assert value(text, "requests_total", policy="auto", expert="echo", status="200") == 1


async def test_a_fallback_shows(tmp_path: Path):
    async with (
        running_upstream() as upstream,
        service_of(tmp_path, openai_expert("bad", upstream.base_url, "html"), ECHO) as service,
    ):
        text = await metrics_after(service, HELLO)
    assert value(text, "requests_total", policy="auto", expert="echo", status="200") == 1
    assert value(text, "attempts_total", expert="bad", outcome="malformed") == 1
    assert value(text, "attempts_total", expert="echo", outcome="ok") == 1


async def test_a_failed_request_is_counted_with_its_expert_and_its_time(tmp_path: Path):
    async with (
        running_upstream() as upstream,
        service_of(tmp_path, openai_expert("bad", upstream.base_url, "html")) as service,
    ):
        text = await metrics_after(service, HELLO)
    assert value(text, "requests_total", policy="auto", expert="bad", status="502") == 1
    assert value(text, "request_duration_seconds_count", expert="bad") == 1


async def test_an_experts_name_is_no_policy(tmp_path: Path):
    async with service_of(tmp_path, ECHO) as service:
        text = await metrics_after(service, HELLO | {"model": "echo"})
    assert value(text, "requests_total", policy="", expert="echo", status="200") == 1
    assert 'policy="echo"' not in text


async def test_what_a_client_made_up_is_no_label(tmp_path: Path):
    async with service_of(tmp_path, ECHO) as service:
        text = await metrics_after(service, HELLO | {"model": "made-up"}, {"model": "made-up"})
    assert "made-up" not in text
    assert value(text, "requests_total", policy="", expert="", status="404") == 1
    assert value(text, "requests_total", policy="", expert="", status="400") == 1


async def test_a_refused_reload_shows_until_the_next_good_one(tmp_path: Path):
    async with service_of(tmp_path, ECHO) as service:
        good = service.config_path.read_text()
        service.config_path.write_text("{")
        await service.reload()
        assert value(await metrics_after(service), "reload_failed") == 1
        service.config_path.write_text(good)
        await service.reload()
        assert value(await metrics_after(service), "reload_failed") == 0


def test_what_the_ledger_gave_up_is_counted():
    metrics = Metrics(lambda: (), FakeScheduler().memory, lost=lambda: 3, reload_failed=lambda: False)
    assert value(metrics.render().decode(), "ledger_lost_total") == 3


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


async def test_memory_of_those_that_sleep():
    memory = MemoryStatus(budget_bytes=9, used_bytes=0, asleep_budget_bytes=8, asleep_used_bytes=7)
    scheduler = FakeScheduler(statuses=[make_status("small", "asleep", asleep_bytes=7)], memory_status=memory)
    async with client_of(make_context(scheduler=scheduler)) as client:
        text = (await client.get("/metrics")).text
    assert value(text, "expert_asleep_bytes", expert="small") == 7
    assert value(text, "expert_memory_bytes", expert="small") == 0
    assert [value(text, f"asleep_{what}_bytes") for what in ("budget", "used")] == [8, 7]
    assert value(text, "memory_budget_bytes") == 9


async def test_on_a_cluster_nodes_and_the_replicas_in_use_show():
    left, right = MemoryStatus(9, 5, 8, 7), MemoryStatus(20, 0, 0, 0)
    statuses = [
        make_status("small", "ready", node="10.0.0.1", memory_bytes=5, leases=2),
        make_status("small", "cold", node="10.0.0.2", waiting=3),
        make_status("large", "cold", node="10.0.0.1"),
        make_status("gpt", "remote"),
    ]
    memory = MemoryStatus(29, 5, 8, 7, {"10.0.0.1": left, "10.0.0.2": right})
    async with client_of(make_context(scheduler=FakeScheduler(statuses=statuses, memory_status=memory))) as client:
        text = (await client.get("/metrics")).text
    assert [value(text, "node_memory_budget_bytes", node=f"10.0.0.{i}") for i in (1, 2)] == [9, 20]
    assert value(text, "node_asleep_used_bytes", node="10.0.0.1") == 7
    assert value(text, "replica_leases", expert="small", node="10.0.0.1") == 2
    assert value(text, "replica_waiting", expert="small", node="10.0.0.2") == 3
    assert value(text, "expert_waiting", expert="small") == 3
    replicas = {labels for name, labels in samples(text) if name == "switchyard_replica_memory_bytes"}
    assert len(replicas) == 2


async def test_on_one_machine_there_are_no_nodes():
    scheduler = FakeScheduler(statuses=[make_status("small", "ready")])
    async with client_of(make_context(scheduler=scheduler)) as client:
        text = (await client.get("/metrics")).text
    assert "node" not in text
    assert "replica" not in text


async def test_what_only_grows_is_a_counter():
    scheduler = FakeScheduler(statuses=[make_status("small", loads=3, prefetch_hits=2, prefetch_misses=1)])
    async with client_of(make_context(scheduler=scheduler)) as client:
        text = (await client.get("/metrics")).text
    counts = [
        value(text, f"expert_{what}_total", expert="small") for what in ("loads", "prefetch_hits", "prefetch_misses")
    ]
    assert counts == [3, 2, 1]


async def test_requests_in_flight():
    context = make_context()
    async with client_of(context) as client:
        task = context.lifecycle.enter()
        text = (await client.get("/metrics")).text
        context.lifecycle.leave(task)
        assert value(text, "in_flight_requests") >= 1


def test_observing_does_little_work():
    """Counted in calls of Python functions, which no busy machine changes."""
    metrics = Metrics(lambda: (), FakeScheduler().memory, lost=lambda: 0, reload_failed=lambda: False)
    attempts = [Attempt("small", "ok", wait_s=0.0, latency_s=0.1)]
    decision = Decision(
        "sw-1", 1.0, "chat", "auto", "auto", "Hello", "anonymous", expert="small", overhead_ms=0.2, attempts=attempts
    )
    metrics.observe(decision)
    assert calls_of(lambda: metrics.observe(decision)) <= 25


def calls_of(work: Callable[[], None]) -> int:
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def test_several_gateways_measurements_are_one_page_with_their_names():
    text = b'# HELP x_total Things\n# TYPE x_total counter\nx_total{expert="a"} %d\n'
    page = merged({"one": text % 1, "two": text % 2}).decode()
    assert samples(page) == {
        ("x_total", frozenset({("expert", "a"), ("gateway", "one")})): 1.0,
        ("x_total", frozenset({("expert", "a"), ("gateway", "two")})): 2.0,
    }
    assert page.count("# TYPE x_total") == 1
