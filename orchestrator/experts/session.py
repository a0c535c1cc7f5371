"""The pooled HTTP session that all upstreams share, and a POST that a stale connection can't fail.

    async with open_session() as http:
        response = await post(http, URL("http://127.0.0.1:8080/v1/embeddings"), headers={}, body=b"{}", timeout=ClientTimeout())

A server may close an idle connection at the moment a request is written to it. aiohttp sends GETs again then, but no POSTs; `post`
does so once, when the connection came from the pool, as Go's net/http does. Not here: what a response means.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextvars import ContextVar

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace
from yarl import URL

IN_MEMORY_BYTES = 2**20
"""Larger bodies are handed to aiohttp as a file, which it writes piece by piece."""

_opened: ContextVar[bool] = ContextVar("opened", default=False)


class _Connector(aiohttp.TCPConnector):
    """Notes, for the task that asks, whether its connection was opened for it or came from the pool."""

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        _opened.set(True)
        return await super()._create_connection(req, traces, timeout)


def open_session() -> aiohttp.ClientSession:
    """No limit on connections (the scheduler limits leases), and no cookies (callers share it)."""
    return aiohttp.ClientSession(connector=_Connector(limit=0), cookie_jar=aiohttp.DummyCookieJar())


async def post(
    http: aiohttp.ClientSession, url: URL, *, headers: Mapping[str, str], body: bytes, timeout: aiohttp.ClientTimeout
) -> aiohttp.ClientResponse:
    """The response, as soon as its headers are there; the body can be read from it. Redirects are not followed."""
    _opened.set(False)
    try:
        return await http.post(url, headers=headers, data=_payload(body), timeout=timeout, allow_redirects=False)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError):
        if _opened.get():
            raise
        return await http.post(url, headers=headers, data=_payload(body), timeout=timeout, allow_redirects=False)


def _payload(body: bytes) -> bytes | io.BytesIO:
    return body if len(body) <= IN_MEMORY_BYTES else io.BytesIO(body)
