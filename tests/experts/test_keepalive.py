"""Experts on another machine: the network is cut, which nobody is told of; or nothing is cut, and nothing is heard for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from yarl import URL

from orchestrator.experts.session import Target, open_session, post
from orchestrator.gateway.app import create_app
from tests.support.gateway import served
from tests.support.namespaces import HOME, Machine, network
from tests.support.service import openai_expert, service_of
from tests.support.upstream import Exchange, Upstream, chunk, event, running_upstream, sends

NOTICED_WITHIN_S = 6.5
"""A cut, by who waits for an answer."""
LONG_S = 7.0


@pytest.fixture
def machine() -> Iterator[Machine]:
    with network(1) as (machine,):
        yield machine


@asynccontextmanager
async def gateway(folder: Path, upstream: Upstream) -> AsyncIterator[httpx.AsyncClient]:
    """One whose first choice is on the other machine."""
    experts = [
        openai_expert("far", upstream.base_url, capabilities=["streaming"]),
        {"name": "near", "backend": "echo", "capabilities": ["streaming"]},
    ]
    async with (
        service_of(folder, *experts) as service,
        served(create_app(service.gateway_context())) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        yield http


async def ask(http: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    body = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}], **fields}
    return await http.post("/v1/chat/completions", json=body)


async def who_answers(answer: Awaitable[httpx.Response]) -> str:
    response = await answer
    assert response.status_code == 200, response.text
    return response.headers["x-switchyard-expert"]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (what a server is asked gives no event here)
        await asyncio.sleep(0.01)


async def begins(exchange: Exchange) -> Any:
    return await sends([event(chunk(exchange, {"content": "Once"}))], then="hang")(exchange)


async def test_what_is_under_way_at_a_cut_falls_back_or_ends_with_an_error(machine, tmp_path):
    async with running_upstream(listener=machine.listener()) as upstream, gateway(tmp_path, upstream) as http:
        assert await asyncio.gather(*(who_answers(ask(http)) for _ in range(3))) == ["far"] * 3
        upstream.script.extend(["hang", begins])
        silent = asyncio.create_task(ask(http))
        await until(lambda: len(upstream.requests) == 4)
        stream = asyncio.create_task(ask(http, stream=True))
        await until(lambda: len(upstream.requests) == 5)

        machine.cut(HOME)
        began = time.monotonic()
        over_a_pooled_connection = asyncio.create_task(ask(http))
        assert await who_answers(silent) == "near"
        assert await who_answers(over_a_pooled_connection) == "near"
        events = (await stream).text
        assert '"Once"' in events
        assert events.splitlines()[-3:-1] == [
            "event: error",
            """data: {"error":{"message":"far can't be reached","type":"api_error","param":null,"code":"unreachable"}}""",
        ]
        assert time.monotonic() - began < NOTICED_WITHIN_S

        assert await who_answers(ask(http)) == "near"
        assert time.monotonic() - began < NOTICED_WITHIN_S  # it is known by now
        machine.heal(HOME)
        while await who_answers(ask(http)) != "far":  # noqa: ASYNC110 (asked again when its breaker lets a probe through)
            await asyncio.sleep(0.1)


async def test_servers_that_take_their_time_are_waited_for():
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(LONG_S)  # of a large request, most waits in the sender's buffer
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.rpartition(b"Content-Length: ")[2]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(late, "127.0.0.1")
    async with server, open_session() as http:
        target = Target(URL.build(scheme="http", host="127.0.0.1", port=server.sockets[0].getsockname()[1]), {})
        sizes = (10, 4 << 20)
        answers = await asyncio.gather(*(post(http, target, b"x" * n, aiohttp.ClientTimeout()) for n in sizes))
        assert [answer.status for answer in answers] == [200, 200]
