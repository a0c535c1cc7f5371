"""Stopping: streams end, new requests are told, and what lasts too long is cut off with an event."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from orchestrator.errors import ConfigError
from orchestrator.gateway.app import create_app
from orchestrator.gateway.context import GatewayContext
from orchestrator.gateway.server import authority, bind, serve, stop_on_signals
from tests.support.gateway import HELLO, make_context
from tests.support.pipeline import FakePipeline

CHAT = "/v1/chat/completions"
STREAM = HELLO | {"stream": True}


@asynccontextmanager
async def serving(
    context: GatewayContext, stop: asyncio.Event, drain_s: float
) -> AsyncIterator[tuple[httpx.AsyncClient, asyncio.Task[None]]]:
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    task = asyncio.create_task(serve(create_app(context), context.lifecycle, listener, stop=stop, drain_s=drain_s))
    async with httpx.AsyncClient(base_url=url) as client:
        yield client, task
        stop.set()
        await task


async def test_a_stream_ends_while_new_requests_are_refused():
    pipeline = FakePipeline(events=[b"data: 1\n\n", b"data: [DONE]\n\n"])
    pipeline.step.clear()
    context, stop = make_context(pipeline), asyncio.Event()
    async with serving(context, stop, drain_s=10) as (client, task):
        async with client.stream("POST", CHAT, json=STREAM) as response:
            blocks = response.aiter_raw()
            await anext(blocks)
            stop.set()
            refused = await client.post(CHAT, json=HELLO)
            ready, alive = await client.get("/readyz"), await client.get("/healthz")
            pipeline.step.set()
            assert b"".join([block async for block in blocks]) == b"data: [DONE]\n\n"
        await task
    assert refused.status_code == ready.status_code == 503
    assert refused.json()["error"]["code"] == "no_capacity"
    assert int(refused.headers["retry-after"]) > 0
    assert alive.status_code == 200


async def test_a_stream_that_lasts_too_long_ends_with_an_error_event():
    pipeline = FakePipeline(events=[b"data: 1\n\n", b"data: [DONE]\n\n"])
    pipeline.step.clear()
    context, stop = make_context(pipeline), asyncio.Event()
    async with (
        serving(context, stop, drain_s=0.05) as (client, _),
        client.stream("POST", CHAT, json=STREAM) as response,
    ):
        blocks = response.aiter_raw()
        await anext(blocks)
        stop.set()
        rest = b"".join([block async for block in blocks])
    assert rest.startswith(b"event: error\n")
    assert pipeline.aborted.is_set()


async def test_a_request_that_lasts_too_long_gets_503():
    pipeline = FakePipeline()
    pipeline.gate.clear()
    context, stop = make_context(pipeline), asyncio.Event()
    async with serving(context, stop, drain_s=0.05) as (client, _):
        request = asyncio.create_task(client.post(CHAT, json=HELLO))
        await pipeline.asked.wait()
        stop.set()
        response = await request
    assert response.status_code == 503


async def test_idle_gateways_stop_at_once():
    stop = asyncio.Event()
    async with serving(make_context(), stop, drain_s=60) as (client, task):
        await client.get("/healthz")
        stop.set()
        async with asyncio.timeout(20):
            await task


async def test_no_header_tells_the_server():
    async with serving(make_context(), asyncio.Event(), drain_s=1) as (client, _):
        response = await client.get("/healthz")
    assert "server" not in response.headers


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_sets_stop(number):
    stop = stop_on_signals()
    os.kill(os.getpid(), number)
    async with asyncio.timeout(10):
        await stop.wait()


def test_a_port_that_is_taken():
    with bind("127.0.0.1", 0) as taken, pytest.raises(ConfigError, match=r"can't listen on 127\.0\.0\.1"):
        bind("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1:8700"), ("::1", "[::1]:8700"), ("me", "me:8700")])
def test_an_ipv6_address_stands_in_brackets(host, shown):
    assert authority(host, 8700) == shown
