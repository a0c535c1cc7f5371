"""/healthz, /readyz, and when loads count as stuck."""

from __future__ import annotations

from orchestrator.gateway.readiness import Readiness
from tests.support.gateway import client_of, make_context
from tests.support.pipeline import FakeScheduler, make_status

LOAD_S = {"small": 10.0}


async def test_alive_and_ready():
    async with client_of(make_context()) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).json() == {"status": "ready"}


async def test_not_ready_says_why():
    stuck = Readiness()
    loading = [make_status("small", "loading", waiting=1)]
    stuck.problem(loading, LOAD_S, now=-1e9)
    async with client_of(make_context(readiness=stuck, scheduler=FakeScheduler(statuses=loading))) as client:
        response = await client.get("/readyz")
    assert response.status_code == 503
    assert "requests wait for small" in response.json()["error"]["message"]


async def test_a_draining_gateway_is_alive_and_not_ready():
    context = make_context()
    context.lifecycle.draining = True
    async with client_of(context) as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503


def test_cold_experts_are_fine():
    readiness = Readiness()
    cold = [make_status("small", "cold")]
    assert readiness.problem(cold, LOAD_S, now=0.0) is None
    assert readiness.problem(cold, LOAD_S, now=1000.0) is None


def test_a_load_that_takes_too_long_while_work_waits():
    readiness = Readiness()
    loading = [make_status("small", "loading", waiting=1)]
    assert readiness.problem(loading, LOAD_S, now=0.0) is None
    assert readiness.problem(loading, LOAD_S, now=9.0) is None
    assert "small" in (readiness.problem(loading, LOAD_S, now=11.0) or "")


def test_a_load_that_got_done_starts_the_clock_anew():
    readiness = Readiness()
    readiness.problem([make_status("small", "loading", waiting=1, loads=1)], LOAD_S, now=0.0)
    assert readiness.problem([make_status("small", "loading", waiting=1, loads=2)], LOAD_S, now=11.0) is None


def test_work_that_was_served_starts_the_clock_anew():
    readiness = Readiness()
    loading = [make_status("small", "loading", waiting=1)]
    readiness.problem(loading, LOAD_S, now=0.0)
    readiness.problem([make_status("small")], LOAD_S, now=5.0)
    assert readiness.problem(loading, LOAD_S, now=11.0) is None
