import aiohttp
import pytest
from yarl import URL

from orchestrator.experts.session import IN_MEMORY_BYTES, open_session, post
from tests.support.upstream import replies, running_upstream


async def ask(http, upstream, body=b'{"messages": []}'):
    url = URL(f"{upstream.base_url}/chat/completions")
    response = await post(http, url, headers={}, body=body, timeout=aiohttp.ClientTimeout())
    await response.read()
    return response


async def test_a_pooled_connection_that_was_just_closed_is_no_failure():
    async with running_upstream() as upstream, open_session() as http:
        await ask(http, upstream)
        upstream.script.extend(["reset-reused", "ok"])
        assert (await ask(http, upstream)).status == 200
        assert len(upstream.requests) == 3


async def test_a_large_body_is_sent_again_whole():
    body = b'{"messages": [], "x": "%s"}' % (b"x" * IN_MEMORY_BYTES)
    async with running_upstream() as upstream, open_session() as http:
        await ask(http, upstream)
        upstream.script.append("reset-reused")
        await ask(http, upstream, body)
        assert len(upstream.requests[-1].body["x"]) == IN_MEMORY_BYTES


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
