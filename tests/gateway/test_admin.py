"""/admin/experts."""

from __future__ import annotations

import hashlib

import pytest

from orchestrator.gateway.auth import KeyRing
from orchestrator.scheduler.base import MemoryStatus
from orchestrator.types import Caller
from tests.support.gateway import client_of, make_context
from tests.support.pipeline import FakeScheduler, make_status


async def test_states_of_the_experts():
    scheduler = FakeScheduler(statuses=[make_status("small", "loading", waiting=3, memory_bytes=7)])
    async with client_of(make_context(scheduler=scheduler)) as client:
        (status,) = (await client.get("/admin/experts")).json()["data"]
    assert (status["expert"], status["state"], status["waiting"], status["memory_bytes"]) == ("small", "loading", 3, 7)


async def test_memory_of_all_and_of_those_that_sleep():
    memory = MemoryStatus(budget_bytes=9, used_bytes=0, asleep_budget_bytes=8, asleep_used_bytes=7)
    scheduler = FakeScheduler(statuses=[make_status("small", "asleep", asleep_bytes=7)], memory_status=memory)
    async with client_of(make_context(scheduler=scheduler)) as client:
        told = (await client.get("/admin/experts")).json()
    assert told["data"][0]["asleep_bytes"] == 7
    assert told["memory"] == {
        "budget_bytes": 9,
        "used_bytes": 0,
        "asleep_budget_bytes": 8,
        "asleep_used_bytes": 7,
        "nodes": {},
    }


@pytest.mark.parametrize("verb", ["warm", "unload"])
async def test_loading_and_unloading(verb):
    scheduler = FakeScheduler(statuses=[make_status("small")])
    async with client_of(make_context(scheduler=scheduler)) as client:
        response = await client.post(f"/admin/experts/small/{verb}")
    assert response.json()["expert"] == "small"
    assert scheduler.calls == [(verb, "small")]


async def test_an_unknown_expert():
    async with client_of(make_context()) as client:
        response = await client.post("/admin/experts/nobody/warm")
    assert response.status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/admin/experts"), ("POST", "/admin/experts/small/warm"), ("POST", "/admin/experts/small/unload")],
)
async def test_admin_needs_an_admins_key(method, path):
    scheduler = FakeScheduler()
    keys = KeyRing({hashlib.sha256(b"sk-1").digest(): Caller("user", admin=False)})
    async with client_of(make_context(scheduler=scheduler, keys=keys)) as client:
        response = await client.request(method, path, headers={"x-api-key": "sk-1"})
    assert response.status_code == 403
    assert scheduler.calls == []
