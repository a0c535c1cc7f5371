import asyncio

import aiohttp
import pytest
from yarl import URL

from orchestrator.experts.session import STALE_S, Target, open_session, post
from tests.support.upstream import replies, running_upstream

LARGE = 4 * 2**20


async def ask(http, upstream, body=b'{"messages": []}'):
    target = Target(URL(f"{upstream.base_url}/chat/completions"), {"Content-Type": "application/json"})
    response = await post(http, target, body, aiohttp.ClientTimeout())
    await response.content.read()
    return response


async def test_a_pooled_connection_that_was_just_closed_is_no_failure():
    async with running_upstream() as upstream, open_session() as http:
        await ask(http, upstream)
        upstream.script.extend(["reset-reused", "ok"])
        assert (await ask(http, upstream)).status == 200
        assert len(upstream.requests) == 3


async def test_several_pooled_connections_that_were_just_closed_are_no_failure():
    async with running_upstream() as upstream, open_session() as http:
        upstream.delay_s = 0.5
        await asyncio.gather(*(ask(http, upstream) for _ in range(3)))
        assert upstream.num_connections == 3
        upstream.delay_s = 0.0
        upstream.script.extend(["reset-reused"] * 3)
        assert (await ask(http, upstream)).status == 200
        assert upstream.num_connections == 4


async def test_a_pooled_connection_that_breaks_while_its_request_is_answered_is_a_failure():
    async with running_upstream() as upstream, open_session() as http:
        await ask(http, upstream)
        upstream.delay_s = STALE_S + 0.1
        upstream.script.append("reset-reused")
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await ask(http, upstream)
        assert len(upstream.requests) == 2


async def test_a_large_body_is_sent_again_whole():
    body = b'{"messages": [], "x": "%s"}' % (b"x" * LARGE)
    async with running_upstream() as upstream, open_session() as http:
        await ask(http, upstream)
        upstream.script.append("reset-reused")
        await ask(http, upstream, body)
        assert len(upstream.requests[-1].body["x"]) == LARGE


async def test_a_fresh_connection_that_breaks_is_a_failure():
    async with running_upstream() as upstream, open_session() as http:
        upstream.script.append("reset")
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await ask(http, upstream)
        assert len(upstream.requests) == 1


async def test_connections_are_used_again():
    async with running_upstream() as upstream, open_session() as http:
        for _ in range(5):
            await ask(http, upstream)
        assert upstream.num_connections == 1


async def test_cookies_are_not_kept():
    async with running_upstream() as upstream, open_session() as http:
        upstream.script.append(replies(b"{}", set_cookie="session=1"))
        await ask(http, upstream)
        await ask(http, upstream)
        assert "Cookie" not in upstream.requests[-1].headers


async def test_redirects_are_not_followed():
    async with running_upstream() as upstream, open_session() as http:
        upstream.script.append("redirect")
        assert (await ask(http, upstream)).status == 307


async def test_a_cancelled_request_gives_its_connection_up():
    async with running_upstream() as upstream, open_session() as http:
        upstream.script.append("hang")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask(http, upstream)
        async with asyncio.timeout(5):
            await upstream.gone.wait()


async def test_what_is_no_http_is_said_to_be_none():
    async def speak_otherwise(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example.com ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(speak_otherwise, "127.0.0.1", 0)
    async with server, open_session() as http:
        target = Target(URL.build(scheme="http", host="127.0.0.1", port=server.sockets[0].getsockname()[1]), {})
        with pytest.raises(aiohttp.ClientResponseError):
            await post(http, target, b"{}", aiohttp.ClientTimeout())
