"""The four inference endpoints: what reaches the pipeline, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import (
    AllExpertsFailed,
    ContextTooLong,
    DeadlineExceeded,
    ExpertError,
    ExpertRejected,
    NoCapacity,
    RateLimited,
    SwitchyardError,
    UnknownModel,
)
from tests.support.gateway import HELLO, client_of, make_context
from tests.support.pipeline import BODY, FakePipeline

CHAT = "/v1/chat/completions"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: HELLO,
    "/v1/completions": {"model": "auto", "prompt": "Once upon"},
    "/v1/embeddings": {"model": "auto", "input": "Hello"},
    "/v1/rerank": {"model": "auto", "query": "cats", "documents": ["a cat", {"text": "a dog"}]},
}


@pytest.mark.parametrize("path", BODIES)
async def test_an_answer_passes_untouched(path):
    async with client_of(make_context()) as client:
        response = await client.post(path, json=BODIES[path])
    assert response.status_code == 200
    assert response.content == BODY
    assert response.headers["content-type"] == "application/json"


async def test_headers_tell_the_decision():
    pipeline = FakePipeline()
    async with client_of(make_context(pipeline)) as client:
        response = await client.post(CHAT, json=HELLO)
    headers = {name: value for name, value in response.headers.items() if name.startswith("x-switchyard-")}
    assert headers == {
        "x-switchyard-decision-id": pipeline.queries[0].id,
        "x-switchyard-expert": "small",
        "x-switchyard-policy": "auto",
        "x-switchyard-overhead-ms": "0.250",
        "x-switchyard-wait-ms": "1.500",
    }


async def test_unknown_fields_pass_and_the_switchyard_object_does_not():
    pipeline = FakePipeline()
    body = HELLO | {"top_k": 5, "vendor": {"nested": [1]}, "switchyard": {"lambda": 0.5}}
    async with client_of(make_context(pipeline)) as client:
        await client.post(CHAT, json=body)
    assert pipeline.queries[0].body == HELLO | {"top_k": 5, "vendor": {"nested": [1]}}


async def test_switchyard_options_reach_the_query():
    pipeline = FakePipeline()
    narrow = {"experts": ["small"], "max_cost_usd": 0.01, "lambda": 0.5, "mu": 2, "collection": "docs", "explain": True}
    async with client_of(make_context(pipeline)) as client:
        await client.post(CHAT, json=HELLO | {"switchyard": narrow})
    options = pipeline.queries[0].options
    assert options.experts == ("small",)
    assert (options.max_cost_usd, options.lambda_, options.mu) == (0.01, 0.5, 2.0)
    assert (options.collection, options.explain) == ("docs", True)


async def test_explain_adds_scores_and_reason_to_the_body():
    async with client_of(make_context()) as client:
        response = await client.post(CHAT, json=HELLO | {"switchyard": {"explain": True}})
    explanation = response.json()["switchyard"]
    assert explanation["scores"] == {"small": 0.8, "large": 0.9}
    assert explanation["reason"] == "small has the highest utility of 2"
    assert response.json()["object"] == "chat.completion"


async def test_explain_on_an_empty_object():
    async with client_of(make_context(FakePipeline(body=b"{ }"))) as client:
        response = await client.post(CHAT, json=HELLO | {"switchyard": {"explain": True}})
    assert response.json().keys() == {"switchyard"}


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (UnknownModel("no such model", param="model"), 404, "invalid_request_error", "model_not_found"),
        (ContextTooLong("too long"), 400, "invalid_request_error", "context_length_exceeded"),
        (RateLimited("full", retry_after_s=2.2), 429, "rate_limit_error", "rate_limit_exceeded"),
        (AllExpertsFailed("all failed"), 502, "api_error", "all_experts_failed"),
        (NoCapacity("full", retry_after_s=0.1), 503, "overloaded_error", "no_capacity"),
        (DeadlineExceeded("too late"), 504, "timeout_error", "deadline_exceeded"),
        (ExpertError("small", "server_error", "it failed"), 502, "api_error", "server_error"),
        (SwitchyardError("no status of its own"), 503, "api_error", None),
    ],
)
async def test_each_error_has_openais_body(error, status, kind, code):
    async with client_of(make_context(FakePipeline(error=error))) as client:
        response = await client.post(CHAT, json=HELLO)
    assert response.status_code == status
    fields = response.json()["error"]
    assert (fields["message"], fields["type"], fields["code"]) == (str(error), kind, code)
    assert fields["param"] == getattr(error, "param", None)


async def test_an_experts_refusal_is_told_with_its_status_code_and_param():
    refusal = ExpertRejected("small", "bad tool", status=422, code="bad_tool", param="tools[0]")
    async with client_of(make_context(FakePipeline(error=refusal))) as client:
        response = await client.post(CHAT, json=HELLO)
    assert response.status_code == 422
    assert response.json()["error"] == {
        "message": "bad tool",
        "type": "invalid_request_error",
        "code": "bad_tool",
        "param": "tools[0]",
    }


@pytest.mark.parametrize(("seconds", "header"), [(2.2, "3"), (0.1, "1")])
async def test_retry_after_is_whole_seconds_rounded_up(seconds, header):
    error = RateLimited("full", retry_after_s=seconds)
    async with client_of(make_context(FakePipeline(error=error))) as client:
        response = await client.post(CHAT, json=HELLO)
    assert response.headers["retry-after"] == header


async def test_an_error_carries_the_decision_id():
    pipeline = FakePipeline(error=AllExpertsFailed("all failed"))
    async with client_of(make_context(pipeline)) as client:
        response = await client.post(CHAT, json=HELLO)
    assert response.headers["x-switchyard-decision-id"] == pipeline.queries[0].id


async def test_a_fault_of_our_own_is_logged_and_hidden(caplog):
    async with client_of(make_context(FakePipeline(error=KeyError("/secret/path")))) as client:
        response = await client.post(CHAT, json=HELLO)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "internal_error"
    assert "secret" not in response.text
    assert "/secret/path" in caplog.text
