"""/v1/route, /v1/decisions and /v1/feedback."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from orchestrator.gateway.auth import KeyRing
from orchestrator.types import Caller, Decision, Feedback
from tests.support.gateway import HELLO, client_of, make_context
from tests.support.pipeline import FakeLedger, FakePipeline

KEYS = KeyRing(
    {
        hashlib.sha256(b"sk-alice").digest(): Caller("alice", admin=False),
        hashlib.sha256(b"sk-bob").digest(): Caller("bob", admin=False),
        hashlib.sha256(b"sk-root").digest(): Caller("root", admin=True),
    }
)


def ledger_with_decision(key_id: str = "anonymous") -> FakeLedger:
    ledger = FakeLedger()
    ledger.record(
        Decision("sw-1", 1.0, "chat", "auto", "auto", "Hello", key_id, expert="small", plan=("small", "large"))
    )
    return ledger


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (HELLO, "chat"),
        ({"model": "auto", "prompt": "Once"}, "completion"),
        ({"model": "auto", "input": "Hello"}, "embedding"),
        ({"model": "auto", "query": "cats", "documents": ["a cat"]}, "rerank"),
    ],
)
async def test_route_decides_without_a_call(body, kind):
    pipeline = FakePipeline()
    async with client_of(make_context(pipeline)) as client:
        response = await client.post("/v1/route", json=body)
    assert response.status_code == 200
    assert response.json()["kind"] == kind
    assert response.json()["scores"] == {"small": 0.8, "large": 0.9}
    assert not pipeline.asked.is_set()


async def test_a_decision_can_be_read_back():
    async with client_of(make_context(ledger=ledger_with_decision())) as client:
        response = await client.get("/v1/decisions/sw-1")
    assert response.json()["expert"] == "small"
    assert response.json()["plan"] == ["small", "large"]


@pytest.mark.parametrize(("key", "status"), [("sk-alice", 200), ("sk-bob", 404), ("sk-root", 200)])
async def test_decisions_belong_to_their_key(key, status):
    ledger = ledger_with_decision("alice")
    async with client_of(make_context(ledger=ledger, keys=KEYS)) as client:
        client.headers["x-api-key"] = key
        assert (await client.get("/v1/decisions/sw-1")).status_code == status
        assert (await client.post("/v1/feedback", json={"decision_id": "sw-1", "score": 1})).status_code == status
    assert len(ledger.given) == (status == 200)


async def test_an_unknown_decision():
    async with client_of(make_context()) as client:
        response = await client.get("/v1/decisions/sw-nothing")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"score": 0.25}, {"score": 0.25}),
        ({"score": 0}, {"score": 0.0}),
        ({"thumbs": "up"}, {"score": 1.0}),
        ({"thumbs": "down", "comment": "wrong"}, {"score": 0.0, "comment": "wrong"}),
        ({"correction": "It is 4."}, {"correction": "It is 4."}),
        ({"score": 1, "expert": "large"}, {"score": 1.0, "expert": "large"}),
    ],
)
async def test_feedback_is_recorded(given: dict[str, Any], expected: dict[str, Any]):
    ledger = ledger_with_decision()
    async with client_of(make_context(ledger=ledger)) as client:
        response = await client.post("/v1/feedback", json={"decision_id": "sw-1"} | given)
    assert response.json() == {"decision_id": "sw-1", "recorded": True, "object": "feedback"}
    assert ledger.given == [Feedback(decision_id="sw-1", **expected)]


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({}, "score"),
        ({"expert": "small"}, "score"),
        ({"score": 1.5}, "score"),
        ({"score": None}, "score"),
        ({"thumbs": "sideways"}, "thumbs"),
        ({"score": 1, "thumbs": "up"}, "thumbs"),
        ({"comment": ""}, "comment"),
        ({"score": 1, "expert": "stranger"}, "expert"),
        ({"score": 1, "stars": 5}, None),
    ],
)
async def test_feedback_that_says_nothing_usable(given, param):
    ledger = ledger_with_decision()
    async with client_of(make_context(ledger=ledger)) as client:
        response = await client.post("/v1/feedback", json={"decision_id": "sw-1"} | given)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert ledger.given == []


async def test_feedback_on_an_unknown_decision():
    async with client_of(make_context()) as client:
        response = await client.post("/v1/feedback", json={"decision_id": "sw-nothing", "score": 1})
    assert response.status_code == 404
