import asyncio
import json
from pathlib import Path

import httpx
import pytest

from tests.support.live import KEY, Live, serving
from tests.support.upstream import Handler, replies

MESSAGES = {"model": "large", "max_tokens": 99, "messages": [{"role": "user", "content": "Hi"}]}
RESPONSES = {"model": "large", "input": "Hi"}
DIALECTS = pytest.mark.parametrize(("path", "body"), [("/v1/messages", MESSAGES), ("/v1/responses", RESPONSES)])


def to(gateway: Live) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=gateway.url, headers={"x-api-key": KEY}, timeout=20)


def events(text: str) -> list[dict]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


@DIALECTS
async def test_answer_has_the_decisions_headers(tmp_path: Path, path, body):
    async with serving(tmp_path) as gateway, to(gateway) as client:
        response = await client.post(path, json=body)
    assert response.status_code == 200
    assert response.headers["x-switchyard-expert"] == "large"
    assert "switchyard" not in response.json()


@DIALECTS
async def test_explain_adds_the_reasons(tmp_path: Path, path, body):
    async with serving(tmp_path) as gateway, to(gateway) as client:
        asked = body | {"switchyard": {"explain": True}}
        whole = (await client.post(path, json=asked)).json()
        stream = events((await client.post(path, json=asked | {"stream": True})).text)
        assert "switchyard" not in gateway.upstream.requests[0].body
    assert whole["switchyard"]["expert"] == "large"
    begun = stream[0].get("response") or stream[0]["message"]
    assert begun["switchyard"]["plan"] == ["large"]


@DIALECTS
async def test_held_stream_waits_in_comments_and_says_who_answers(tmp_path: Path, path, body):
    async with serving(tmp_path, hold_s=0.01) as gateway, to(gateway) as client:
        gateway.upstream.delay_s = 0.1
        response = await client.post(path, json=body | {"stream": True})
    assert response.text.startswith(": ")
    begun = events(response.text)[0].get("response") or events(response.text)[0]["message"]
    assert begun["switchyard"]["expert"] == begun["model"] == "large"


@DIALECTS
async def test_held_stream_that_fails_ends_in_the_dialects_error(tmp_path: Path, path, body):
    async with serving(tmp_path, hold_s=0.01) as gateway, to(gateway) as client:
        gateway.upstream.delay_s = 0.1
        gateway.upstream.script.append("400")
        response = await client.post(path, json=body | {"stream": True})
    last = events(response.text)[-1]
    assert last["type"] in {"error", "response.failed"}
    assert (last.get("response") or last)["error"]["message"] == "scripted failure"


@DIALECTS
async def test_client_that_leaves_aborts_the_expert(tmp_path: Path, path, body):
    async with serving(tmp_path) as gateway, to(gateway) as client:
        gateway.upstream.script.append("hang-mid-stream")
        async with client.stream("POST", path, json=body | {"stream": True}) as response:
            await anext(response.aiter_bytes())
        await asyncio.wait_for(gateway.upstream.gone.wait(), 5)


@pytest.mark.parametrize(
    "answer",
    [
        "wrong-types",
        "half-json",
        replies(b'{"id": "x", "object": "chat.completion", "choices": []}'),
        replies(b'{"id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": null}]}'),
        replies(b'{"id": "x", "object": "chat.completion", "choices": [{"message": {"tool_calls": [3]}}]}'),
        replies(b'{"id": "x", "choices": [{"message": {"content": "Hi"}}], "usage": {"prompt_tokens": "many"}}'),
    ],
)
@DIALECTS
async def test_malformed_answer_is_a_bad_gateway(tmp_path: Path, path, body, answer: str | Handler):
    async with serving(tmp_path) as gateway, to(gateway) as client:
        gateway.upstream.script.extend([answer] * 8)
        response = await client.post(path, json=body)
    assert response.status_code == 502
    assert response.json()["error"]["type"] == "api_error"


@pytest.mark.parametrize("delta", [b"3", b'{"tool_calls": [3]}', b'{"tool_calls": 3}', b'{"content": {}}'])
@DIALECTS
async def test_malformed_chunk_is_a_bad_gateway(tmp_path: Path, path, body, delta):
    chunk = b'data: {"id": "x", "choices": [{"index": 0, "delta": %b}]}\n\n'
    stream = (chunk % b'{"content": "Hi"}') + (chunk % delta) + b"data: [DONE]\n\n"
    async with serving(tmp_path) as gateway, to(gateway) as client:
        gateway.upstream.script.append(replies(stream, content_type="text/event-stream"))
        response = await client.post(path, json=body | {"stream": True})
    assert response.status_code == 502
    assert response.json()["error"]["type"] == "api_error"


async def test_errors_of_messages_have_anthropics_shape_from_the_key_check_on(tmp_path: Path):
    async with serving(tmp_path) as gateway, to(gateway) as client:
        unauthorized = await client.post("/v1/messages", json=MESSAGES, headers={"x-api-key": "wrong"})
        broken = await client.post("/v1/messages/count_tokens", content=b"{")
        unknown = await client.post("/v1/messages", json=MESSAGES | {"model": "nobody"})
    assert [(r.status_code, r.json()["type"], r.json()["error"]["type"]) for r in (unauthorized, broken, unknown)] == [
        (401, "error", "authentication_error"),
        (400, "error", "invalid_request_error"),
        (404, "error", "not_found_error"),
    ]
    assert unknown.json()["request_id"] == unknown.headers["x-switchyard-decision-id"]
