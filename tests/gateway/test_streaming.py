"""Streams: bytes untouched, headers held back, held requests told where they stand, errors as the last event."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest

from orchestrator.errors import AllExpertsFailed, ExpertError, RateLimited
from orchestrator.scheduler.base import Position
from tests.support.gateway import HELLO, client_of, make_context, served_client
from tests.support.pipeline import FakePipeline, FakeScheduler

CHAT = "/v1/chat/completions"
STREAM = HELLO | {"stream": True}
CHUNK = b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"small","choices":[{"index":0,"delta":%b}]}\n\n'
EVENTS = [CHUNK % b'{"content":"Hel"}', CHUNK % b'{"content":"lo"}', b"data: [DONE]\n\n"]


def parse(text: str) -> list[tuple[str, Any]]:
    """(event, data) of each SSE event; comments have the event `:`."""
    events = []
    for block in text.strip().split("\n\n"):
        if block.startswith(":"):
            events.append((":", block[2:]))
        else:
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            data = fields["data"]
            events.append((fields.get("event", "message"), data if data == "[DONE]" else json.loads(data)))
    return events


def held(pipeline: FakePipeline, **overrides: Any) -> Any:
    pipeline.gate.clear()
    scheduler = FakeScheduler(default_position=Position("small", ahead=1, estimate_s=4.2))
    return make_context(pipeline, scheduler=scheduler, hold_s=0.01, comment_s=0.01, **overrides)


async def test_a_stream_passes_untouched_with_the_headers():
    pipeline = FakePipeline(events=EVENTS)
    async with client_of(make_context(pipeline)) as client:
        response = await client.post(CHAT, json=STREAM)
    assert response.content == b"".join(EVENTS)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-switchyard-expert"] == "small"


async def test_blocks_are_sent_as_they_come():
    pipeline = FakePipeline(events=EVENTS)
    pipeline.step.clear()
    async with served_client(make_context(pipeline)) as client, client.stream("POST", CHAT, json=STREAM) as response:
        blocks = response.aiter_raw()
        assert await anext(blocks) == EVENTS[0]
        pipeline.step.set()
        assert b"".join([block async for block in blocks]) == b"".join(EVENTS[1:])


@pytest.mark.parametrize("error", [AllExpertsFailed("all failed"), RateLimited("full", retry_after_s=1)])
async def test_an_error_before_the_first_block_is_a_plain_response(error):
    async with client_of(make_context(FakePipeline(error=error))) as client:
        response = await client.post(CHAT, json=STREAM)
    assert response.status_code == error.status
    assert response.json()["error"]["message"] == str(error)


async def test_an_error_amid_the_stream_is_its_last_event():
    broken = ExpertError("small", "truncated", "the stream stopped without its end")
    async with client_of(make_context(FakePipeline(events=[EVENTS[0], broken]))) as client:
        response = await client.post(CHAT, json=STREAM)
    assert response.status_code == 200
    event, data = parse(response.text)[-1]
    assert event == "error"
    assert data["error"]["code"] == "truncated"


async def test_an_empty_stream_is_still_a_response():
    async with client_of(make_context(FakePipeline(events=[]))) as client:
        response = await client.post(CHAT, json=STREAM)
    assert (response.status_code, response.content) == (200, b"")


async def test_explain_comes_as_the_first_event():
    async with client_of(make_context(FakePipeline(events=EVENTS))) as client:
        response = await client.post(CHAT, json=STREAM | {"switchyard": {"explain": True}})
    event, data = parse(response.text)[0]
    assert event == "switchyard"
    assert data["switchyard"]["scores"] == {"small": 0.8, "large": 0.9}
    assert parse(response.text)[-1] == ("message", "[DONE]")


async def test_a_held_stream_is_told_its_position_then_the_expert():
    pipeline = FakePipeline(events=EVENTS)
    async with served_client(held(pipeline)) as client, client.stream("POST", CHAT, json=STREAM) as response:
        assert response.headers["x-switchyard-decision-id"] == pipeline.queries[0].id
        assert "x-switchyard-expert" not in response.headers
        blocks = response.aiter_raw()
        assert await anext(blocks) == b": position 2, about 4 s\n\n"
        pipeline.gate.set()
        rest = parse((b"".join([block async for block in blocks])).decode())
    events = [(event, data) for event, data in rest if event != ":"]
    assert events[0][0] == "switchyard"
    assert events[0][1]["switchyard"]["expert"] == "small"
    assert [data for event, data in events if event == "message"][-1] == "[DONE]"


async def test_a_held_stream_hears_of_a_panel_that_is_at_it():
    pipeline = FakePipeline(events=EVENTS)
    async with served_client(held(pipeline)) as client, client.stream("POST", CHAT, json=STREAM) as response:
        blocks = response.aiter_raw()
        pipeline.queries[0].tell("answers: 1 of 2\nhave answered")
        seen = b""
        while b": answers: 1 of 2 have answered\n\n" not in seen:
            seen += await anext(blocks)
        pipeline.gate.set()
        assert b"[DONE]" in b"".join([block async for block in blocks])


async def test_what_goes_on_can_come_as_reasoning():
    pipeline = FakePipeline(events=EVENTS)
    pipeline.gate.clear()
    body = STREAM | {"switchyard": {"progress": "reasoning"}}
    async with served_client(make_context(pipeline)) as client:
        asking = asyncio.create_task(client.post(CHAT, json=body))
        await pipeline.asked.wait()
        for note in ("asking 2", "2 have answered"):
            pipeline.queries[0].tell(note)
        pipeline.gate.set()
        events = parse((await asking).text)
    reasoning = [data["choices"][0]["delta"].get("reasoning_content") for event, data in events if data != "[DONE]"]
    assert reasoning[:2] == ["asking 2\n", "2 have answered\n"]


async def test_who_does_not_stream_is_told_nothing():
    pipeline = FakePipeline()
    async with client_of(make_context(pipeline)) as client:
        await client.post(CHAT, json=STREAM | {"stream": False})
    assert pipeline.queries[0].tell is None


async def test_comments_are_repeated():
    async with served_client(held(FakePipeline())) as client, client.stream("POST", CHAT, json=STREAM) as response:
        seen = b""
        async for piece in response.aiter_raw():
            seen += piece
            if seen.count(b"position") >= 3:
                break


async def test_an_error_after_holding_is_the_last_event():
    pipeline = FakePipeline(error=AllExpertsFailed("all failed"))
    async with served_client(held(pipeline)) as client:
        request = asyncio.create_task(client.post(CHAT, json=STREAM))
        await pipeline.asked.wait()
        await asyncio.sleep(0.05)  # the hold's own clock
        pipeline.gate.set()
        response = await request
    event, data = parse(response.text)[-1]
    assert (event, data["error"]["code"]) == ("error", "all_experts_failed")


async def test_a_request_that_does_not_stream_waits_in_silence():
    pipeline = FakePipeline()
    async with served_client(held(pipeline)) as client:
        request = asyncio.create_task(client.post(CHAT, json=HELLO))
        await pipeline.asked.wait()
        await asyncio.sleep(0.05)  # the hold's own clock
        pipeline.gate.set()
        response = await request
    assert response.headers["x-switchyard-expert"] == "small"
    assert response.json()["model"] == "small"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "auto", "input": "Hello"}),
        ("/v1/rerank", {"model": "auto", "query": "cats", "documents": ["a cat"]}),
    ],
)
async def test_stream_means_nothing_to_what_is_no_text(path, body):
    pipeline = FakePipeline()
    async with served_client(held(pipeline)) as client:
        request = asyncio.create_task(client.post(path, json=body | {"stream": True}))
        await pipeline.asked.wait()
        await asyncio.sleep(0.05)  # the hold's own clock
        pipeline.gate.set()
        response = await request
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json()["model"] == "small"


async def test_openais_client_reads_a_held_and_explained_stream():
    pipeline = FakePipeline(events=EVENTS)
    async with served_client(held(pipeline)) as http:
        client = openai.AsyncOpenAI(api_key="none", base_url=f"{http.base_url}/v1")
        asking = asyncio.create_task(
            client.chat.completions.create(**STREAM, extra_body={"switchyard": {"explain": True}})
        )
        await pipeline.asked.wait()
        await asyncio.sleep(0.05)  # the hold's own clock
        pipeline.gate.set()
        text = [chunk.choices[0].delta.content or "" async for chunk in await asking]
        await client.close()
    assert "".join(text) == "Hello"


async def test_openais_client_raises_the_error_of_a_broken_stream():
    broken = ExpertError("small", "truncated", "the stream stopped without its end")
    async with (
        served_client(make_context(FakePipeline(events=[EVENTS[0], broken]))) as http,
        openai.AsyncOpenAI(api_key="none", base_url=f"{http.base_url}/v1") as client,
    ):
        stream = await client.chat.completions.create(**STREAM)
        with pytest.raises(openai.APIError, match="stopped without its end"):
            async for _ in stream:
                pass
