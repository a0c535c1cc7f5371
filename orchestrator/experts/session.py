"""The pooled HTTP session that all upstreams share, and a POST to one of them that a stale connection can't fail.

    async with open_session() as http:
        target = Target(URL("http://127.0.0.1:8080/v1/embeddings"), {"Content-Type": "application/json"})
        response = await post(http, target, b"{}", ClientTimeout())
        await response.content.read()

Connections are aiohttp's, its pool's and its parser's. The request isn't: all but its length and its body is the same every time,
and one write of those takes half the processor time of `ClientSession.post`, which starts a task per body.

A server may close an idle connection at the moment a request is written to it. HTTP clients send GETs again then, but no POSTs;
`post` does so for as long as its connections came from the pool; there may be several, since llama.cpp closes one after each
stream. One that breaks later than that is a failure, since its request was being answered. When a server can't be reached any more,
its connections break within seconds (`keepalive.py`). Not here: what a response means.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.tracing import Trace
from multidict import CIMultiDict
from yarl import URL

from orchestrator.experts.keepalive import SMALL_BYTES, UNREACHABLE, open_socket, patience

NO_MORE: AbstractContextManager[None] = nullcontext()

STALE_S = 1.0
"""Within which a connection breaks whose server had closed it before."""

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
    connector = _Connector(limit=0, socket_factory=open_socket)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


class Target:
    """Where requests go and with which headers, besides those that every request has. Belongs to the running event loop."""

    def __init__(self, url: URL, headers: Mapping[str, str]) -> None:
        self.request = aiohttp.ClientRequest("POST", url, headers=headers, loop=asyncio.get_running_loop())
        fields = CIMultiDict(self.request.headers)
        fields.pop("Content-Length", None)
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.head = f"POST {url.raw_path_qs} HTTP/1.1\r\n{head}".encode()


class Response:
    """What an upstream answers, as soon as its headers are there. At the end of `content` its connection is free again."""

    def __init__(self, connection: Connection, message: RawResponseMessage, content: aiohttp.StreamReader) -> None:
        self.status = message.code
        self.headers = message.headers
        self.content = content
        self._connection = connection
        content.on_eof(connection.release)

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def failure(self) -> BaseException | None:
        """What has broken its connection. Reading tells only what is missing then."""
        protocol = self._connection.protocol
        return None if protocol is None else protocol.exception()

    def limit_silence(self, idle_s: float) -> None:
        """From now on, reading fails when nothing comes for `idle_s`; aiohttp's `sock_read` would hold before the headers, too."""
        protocol = self._connection.protocol
        if protocol is not None:
            protocol.read_timeout = idle_s
            protocol.start_timeout()

    def close(self) -> None:
        """Break the connection, unless the whole response has come."""
        self._connection.close()


async def post(http: aiohttp.ClientSession, target: Target, body: bytes, timeout: aiohttp.ClientTimeout) -> Response:
    """Raises `aiohttp.ClientError`, and `TimeoutError` when connecting takes too long. Redirects are not followed."""
    while True:
        _opened.set(False)
        began = time.monotonic()
        try:
            return await _post_once(http, target, body, timeout)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError) as exc:
            is_late = time.monotonic() - began > STALE_S
            if _opened.get() or is_late or (isinstance(exc, OSError) and exc.errno in UNREACHABLE):
                raise


async def _post_once(
    http: aiohttp.ClientSession, target: Target, body: bytes, timeout: aiohttp.ClientTimeout
) -> Response:
    assert http.connector is not None
    connection = await _connect(http.connector, target, timeout)
    try:
        protocol = connection.protocol
        assert protocol is not None
        protocol.set_response_params(read_until_eof=True)
        if protocol.transport is None or protocol.transport.is_closing():
            raise aiohttp.ClientConnectionResetError("the connection was just closed")
        with patience(protocol.transport) if len(body) > SMALL_BYTES else NO_MORE:
            protocol.transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (target.head, len(body), body))
            return Response(connection, *await _read_head(protocol))
    except HttpProcessingError as exc:
        connection.close()
        raise aiohttp.ClientResponseError(target.request.request_info, (), message=exc.message) from exc
    except BaseException:  # a cancelled request gives up its connection, too
        connection.close()
        raise


async def _connect(connector: aiohttp.BaseConnector, target: Target, timeout: aiohttp.ClientTimeout) -> Connection:
    try:
        return await connector.connect(target.request, traces=[], timeout=timeout)
    except TimeoutError as exc:
        raise aiohttp.ConnectionTimeoutError("no connection in time") from exc


async def _read_head(protocol: ResponseHandler) -> tuple[RawResponseMessage, aiohttp.StreamReader]:
    """The final response, after any that are only informational."""
    while True:
        message, content = await protocol.read()
        if message.code >= 200 or message.code == 101:
            return message, content
