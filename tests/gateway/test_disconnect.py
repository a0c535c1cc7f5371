"""A client that leaves aborts the expert within 500 ms, whether it waits or streams."""

from __future__ import annotations

import asyncio
import json

import pytest

from orchestrator.gateway.app import create_app
from orchestrator.gateway.lifecycle import Lifecycle
from tests.support.gateway import HELLO, make_context, served
from tests.support.pipeline import FakePipeline, FakeScheduler

LIMIT_S = 0.5


async def connect(url: str, body: dict[str, object]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request on a socket of our own, so that leaving is under our control."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    raw = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(raw)}\r\n\r\n"
    writer.write(head.encode() + raw)
    await writer.drain()
    return reader, writer


async def leave(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_while_waiting(stream):
    pipeline = FakePipeline()
    pipeline.gate.clear()
    context = make_context(pipeline)
    async with served(create_app(context), context.lifecycle) as url:
        _, writer = await connect(url, HELLO | {"stream": stream})
        await pipeline.asked.wait()
        await leave(writer)
        async with asyncio.timeout(LIMIT_S):
            await pipeline.aborted.wait()


async def test_leaving_while_held():
    pipeline = FakePipeline()
    pipeline.gate.clear()
    context = make_context(pipeline, hold_s=0.01, comment_s=0.01)
    async with served(create_app(context), context.lifecycle) as url:
        reader, writer = await connect(url, HELLO | {"stream": True})
        await reader.readuntil(b": waiting")
        await leave(writer)
        async with asyncio.timeout(LIMIT_S):
            await pipeline.aborted.wait()


async def test_leaving_amid_a_stream():
    pipeline = FakePipeline(events=[b"data: {}\n\n"] * 3)
    pipeline.step.clear()
    context = make_context(pipeline)
    async with served(create_app(context), context.lifecycle) as url:
        reader, writer = await connect(url, HELLO | {"stream": True})
        await reader.readuntil(b"data: {}")
        await leave(writer)
        async with asyncio.timeout(LIMIT_S):
            await pipeline.aborted.wait()


async def test_leaving_while_a_stream_is_not_read():
    """The socket's buffers are full, so the gateway is stuck in sending when the client goes."""
    pipeline = FakePipeline(events=[b"data: " + b"x" * 1_000_000 + b"\n\n"] * 100_000)
    context = make_context(pipeline)
    async with served(create_app(context), context.lifecycle) as url:
        reader, writer = await connect(url, HELLO | {"stream": True})
        await reader.readuntil(b"data: ")
        writer.transport.abort()
        async with asyncio.timeout(LIMIT_S):
            await pipeline.aborted.wait()


async def test_leaving_before_the_body_is_whole():
    pipeline = FakePipeline()
    context = make_context(pipeline)
    async with served(create_app(context), context.lifecycle) as url:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        await writer.drain()
        await leave(writer)
    assert pipeline.queries == []


async def test_a_connection_serves_the_next_request_after_a_stream():
    pipeline = FakePipeline(events=[b"data: [DONE]\n\n"])
    context = make_context(pipeline)
    async with served(create_app(context), context.lifecycle) as url:
        reader, writer = await connect(url, HELLO | {"stream": True})
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"ok")
        await leave(writer)


@pytest.mark.parametrize("sent", [b"", b'{"model"'])
async def test_a_client_whose_body_never_comes_is_not_waited_for(sent):
    context = make_context(gateway={"request_timeout_s": 0.1}, lifecycle=Lifecycle(sweep_s=0.05))
    async with served(create_app(context), context.lifecycle) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n" + sent)
        async with asyncio.timeout(5):
            assert b" 504 " in await reader.readline()
        assert context.lifecycle.in_flight == 0
        await leave(writer)


async def test_a_client_that_stops_reading_keeps_its_expert_no_longer_than_a_request_may_take():
    pipeline = FakePipeline(events=[b"data: " + b"x" * 1_000_000 + b"\n\n"] * 100_000)
    context = make_context(pipeline, gateway={"request_timeout_s": 0.2}, lifecycle=Lifecycle(sweep_s=0.05))
    async with served(create_app(context), context.lifecycle) as url:
        reader, writer = await connect(url, HELLO | {"stream": True})
        await reader.readuntil(b"data: ")
        async with asyncio.timeout(2):
            await pipeline.aborted.wait()
        writer.transport.abort()
    assert context.lifecycle.in_flight == 0


class SlowScheduler(FakeScheduler):
    """Loads and unloads for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.aborted = asyncio.Event(), asyncio.Event()

    async def warm(self, expert: str) -> None:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.aborted.set()

    unload = warm


@pytest.mark.parametrize("verb", ["warm", "unload"])
async def test_leaving_while_an_expert_is_loaded_or_unloaded_by_hand(verb):
    scheduler = SlowScheduler()
    context = make_context(scheduler=scheduler)
    async with served(create_app(context), context.lifecycle) as url:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(f"POST /admin/experts/small/{verb} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        await scheduler.asked.wait()
        await leave(writer)
        async with asyncio.timeout(LIMIT_S):
            await scheduler.aborted.wait()
