"""Whatever is sent, the answer is a clear error in OpenAI's shape, and never a 5xx."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.gateway.context import GatewayContext
from tests.support.gateway import HELLO, client_of, make_context
from tests.support.pipeline import FakePipeline

CHAT = "/v1/chat/completions"
PATHS = [CHAT, "/v1/completions", "/v1/embeddings", "/v1/rerank", "/v1/route", "/v1/feedback"]


async def refused(body: bytes, path: str = CHAT, context: GatewayContext | None = None) -> dict[str, Any]:
    async with client_of(context or make_context()) as client:
        response = await client.post(path, content=body)
    assert response.status_code == 400, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    return error


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"model": "auto"} trailing',
        b'{"model": NaN}',
        b'{"model": 1e400}',
        b'{"model": "\xff"}',
        b'{"model": "\\ud800"}',
        b"[]",
        b'"text"',
        b"null",
        b"[" * 100_000,
        b'{"model": "auto", "messages": ' + b"[" * 300 + b"]" * 300 + b"}",
    ],
    ids=lambda body: repr(body[:20]),
)
async def test_a_body_that_is_no_json_object(body):
    assert (await refused(body))["code"] == "invalid_json"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [3]}, "messages[0]"),
        ({"messages": [{"content": "no role"}]}, "messages[0].role"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "no type"}]}]}, "messages[0].content[0].type"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"temperature": "hot"}, "temperature"),
        ({"tools": [{"function": {}}]}, "tools[0].type"),
        ({"switchyard": {"lamda": 1}}, "switchyard"),
        ({"switchyard": {"lambda": -1}}, "switchyard.lambda"),
        ({"switchyard": {"experts": []}}, "switchyard.experts"),
        ({"switchyard": {"priority": "urgent"}}, "switchyard.priority"),
    ],
)
async def test_param_names_the_wrong_field(change, param):
    assert (await refused(json.dumps(HELLO | change).encode()))["param"] == param


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/completions", {"model": "auto"}, "prompt"),
        ("/v1/embeddings", {"model": "auto", "input": ""}, "input"),
        ("/v1/embeddings", {"model": "auto", "input": []}, "input"),
        ("/v1/rerank", {"model": "auto", "query": "x", "documents": [1]}, "documents[0]"),
        ("/v1/route", {"model": "auto"}, None),
    ],
)
async def test_each_kind_has_fields_it_must_have(path, body, param):
    assert (await refused(json.dumps(body).encode(), path))["param"] == param


async def test_the_content_type_does_not_matter():
    async with client_of(make_context()) as client:
        headers = {"content-type": "text/plain"}
        response = await client.post(CHAT, content=json.dumps(HELLO), headers=headers)
    assert response.status_code == 200


async def test_a_body_in_pieces_is_read_whole():
    async def pieces() -> AsyncIterator[bytes]:
        for byte in json.dumps(HELLO).encode():
            yield bytes([byte])

    pipeline = FakePipeline()
    async with client_of(make_context(pipeline)) as client:
        response = await client.post(CHAT, content=pieces())
    assert response.status_code == 200
    assert pipeline.queries[0].body == HELLO


async def test_a_large_body_is_refused_by_its_declared_length():
    async with client_of(make_context(gateway={"max_body_mb": 0.001})) as client:
        response = await client.post(CHAT, content=b"x" * 1001)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"


async def test_a_large_body_is_refused_while_it_is_read():
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 400

    async with client_of(make_context(gateway={"max_body_mb": 0.001})) as client:
        response = await client.post(CHAT, content=endless())
    assert response.status_code == 413
    assert read == 3


@pytest.mark.parametrize("length", ["many", "1" * 5000])
async def test_a_wrong_content_length(length):
    async with client_of(make_context()) as client:
        response = await client.post(CHAT, json=HELLO, headers={"content-length": length})
    assert response.status_code == 400


async def test_an_unknown_path():
    async with client_of(make_context()) as client:
        response = await client.get("/v2/nothing")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


async def test_a_wrong_method():
    async with client_of(make_context()) as client:
        response = await client.get(CHAT)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.json()["error"]["code"] == "method_not_allowed"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
NAMES = [
    "model",
    "messages",
    "prompt",
    "input",
    "query",
    "documents",
    "role",
    "content",
    "type",
    "text",
    "stream",
    "tool",
]
OPTIONS = [
    "tools",
    "function",
    "max_tokens",
    "n",
    "stop",
    "switchyard",
    "experts",
    "lambda",
    "explain",
    "logprobs",
    "user",
]
MORE = ["decision_id", "score", "thumbs", "image_url", "input_audio", "data"]
FIELDS = st.sampled_from([*NAMES, *OPTIONS, *MORE])
ROLES = st.sampled_from(["user", "assistant", "system", "tool", "function", "developer"])
JSON = st.recursive(
    SCALARS | FIELDS | ROLES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS | st.text(max_size=8), inner, max_size=6),
    max_leaves=25,
)
MESSAGES = st.lists(st.fixed_dictionaries({"role": ROLES, "content": JSON}, optional={"tool_calls": JSON}), max_size=5)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(PATHS), body=JSON, messages=MESSAGES | JSON)
async def test_fuzzed_json_is_never_a_server_error(path, body, messages):
    if isinstance(body, dict):
        body = {"model": "auto", "messages": messages} | body
    async with client_of(make_context()) as client:
        response = await client.post(path, content=json.dumps(body).encode())
    assert response.status_code < 500, response.text
    assert response.status_code == 200 or response.json()["error"]["message"]


@settings(max_examples=100, deadline=None)
@given(path=st.sampled_from(PATHS), body=st.binary(max_size=200))
async def test_fuzzed_bytes_are_never_a_server_error(path, body):
    async with client_of(make_context()) as client:
        response = await client.post(path, content=body)
    assert response.status_code == 400
