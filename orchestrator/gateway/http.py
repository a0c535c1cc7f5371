"""One HTTP request and its response, straight on ASGI: the few microseconds between the server and a handler.

    async def handler(request: Request) -> None:
        body = await request.json()
        await request.respond_json({"seen": len(body)})

Not here: authentication and errors (`endpoint.py`), what a body means (`requests.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import suppress
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from orchestrator.errors import BodyTooLarge, RequestError
from orchestrator.gateway.context import GatewayContext
from orchestrator.gateway.errors import translate
from orchestrator.gateway.surface import Surface
from orchestrator.types import ANONYMOUS, Caller

Header = tuple[bytes, bytes]
MAX_DEPTH = 200
FAREWELL_S = 1.0
"""How long a stream that broke may take to say so: its client may have stopped reading."""
SILENCE_S = 60.0
"""How long a large body may be on its way without a byte."""
_JSON = (b"content-type", b"application/json")
_BYTES = (b"content-type", b"application/octet-stream")
_EVENT_STREAM = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class ClientGone(Exception):
    """The client left before it had its answer: there is nobody to tell."""


class Request:
    """Mutable while it is handled. `decision_id` is set once the pipeline has it, which records it whatever comes of it.

    status: what was sent, 499 while nothing was. started: the response's headers are out.
    """

    __slots__ = (
        "_on_note",
        "_send",
        "caller",
        "context",
        "decision_id",
        "notes",
        "receive",
        "received_at",
        "scope",
        "started",
        "status",
        "surface",
    )

    def __init__(self, context: GatewayContext, scope: Scope, receive: Receive, send: Send, surface: Surface) -> None:
        self.context = context
        self.scope = scope
        self.receive = receive
        self._send = send
        self.surface = surface
        self.received_at = time.monotonic()
        self.caller: Caller = ANONYMOUS
        self.decision_id: str | None = None
        self.started = False
        self.status = 499
        self.notes: list[str] = []
        self._on_note: Callable[[], None] | None = None

    def tell(self, note: str) -> None:
        """Keep a line about how the answer is getting on, and wake whoever passes it on."""
        self.notes.append(note)
        if self._on_note is not None:
            self._on_note()

    def on_note(self, call: Callable[[], None] | None) -> None:
        """Who is called for every note from now on; None ends it."""
        self._on_note = call

    @property
    def path_params(self) -> dict[str, str]:
        params: dict[str, str] = self.scope["path_params"]
        return params

    def header(self, name: bytes) -> str | None:
        """The first header of that (lower-case) name."""
        for key, value in self.scope["headers"]:
            if key == name:
                return str(value, "latin-1")
        return None

    async def json(self) -> dict[str, Any]:
        """The body, which must be a JSON object. Raises `RequestError` and `BodyTooLarge`."""
        return parse_object(await self.read())

    async def read(self) -> bytes:
        """The whole body, at most `gateway.max_body_mb` of it."""
        limit = int(self.context.config().gateway.max_body_mb * 1_000_000)
        if self._declared_length() > limit:
            raise _too_large(limit)
        body, more = await self._receive_piece()
        if more:
            body = await self._read_rest(body, limit)
        if len(body) > limit:
            raise _too_large(limit)
        return body

    async def pieces(self, limit: int) -> AsyncGenerator[bytes, None]:
        """The body as it comes, at most `limit` bytes of it. Raises `BodyTooLarge`, and `RequestError` when it stops coming."""
        if self._declared_length() > limit:
            raise _too_large(limit)
        size, more = 0, True
        while more:
            try:
                async with asyncio.timeout(SILENCE_S):
                    piece, more = await self._receive_piece()
            except TimeoutError as exc:
                raise RequestError(f"Nothing more of the request's body came for {SILENCE_S:g} s.") from exc
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            yield piece

    def _declared_length(self) -> int:
        try:
            return int(self.header(b"content-length") or 0)
        except ValueError as exc:
            raise RequestError("The header content-length is no number.") from exc

    async def _read_rest(self, first: bytes, limit: int) -> bytes:
        pieces, size, more = [first], len(first), True
        while more and size <= limit:
            piece, more = await self._receive_piece()
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    async def _receive_piece(self) -> tuple[bytes, bool]:
        """The next piece of the body, and whether there are more."""
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message.get("body", b""), message.get("more_body", False)

    async def respond_json(self, content: Any, status: int = 200) -> None:
        await self.respond(msgspec.json.encode(content), status)

    async def respond(
        self, body: bytes, status: int = 200, headers: tuple[Header, ...] = (), content_type: Header = _JSON
    ) -> None:
        """Send a whole response."""
        await self._start(status, (content_type, (b"content-length", b"%d" % len(body)), *headers))
        await self._send({"type": "http.response.body", "body": body})

    async def respond_pieces(self, pieces: AsyncIterable[bytes], size: int, content_type: Header = _BYTES) -> None:
        """Send a response of `size` bytes as its pieces are there."""
        await self._start(200, (content_type, (b"content-length", b"%d" % size)))
        async for piece in pieces:
            await self.send_block(piece)
        await self.send_block(b"", more=False)

    async def start_stream(self, headers: tuple[Header, ...]) -> None:
        """Send the headers of an SSE response."""
        await self._start(200, (*_EVENT_STREAM, *headers))

    async def send_block(self, block: bytes, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": block, "more_body": more})

    async def fail(self, exc: Exception) -> None:
        """Answer with an error: a response of its own, or the last event of a stream that has begun."""
        failure = translate(exc)
        if self.started:
            self.status = failure.status
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await self.send_block(self.surface.error_event(failure), more=False)
            return
        mark = ((b"x-switchyard-decision-id", self.decision_id.encode()),) if self.decision_id else ()
        await self.respond(self.surface.error(failure), failure.status, (*failure.headers, *mark))

    async def _start(self, status: int, headers: tuple[Header, ...]) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        self.started = True
        self.status = status


def parse_object(raw: bytes) -> dict[str, Any]:
    """JSON bytes that must hold an object, nested at most `MAX_DEPTH` deep. Raises `RequestError`."""
    try:
        parsed = msgspec.json.decode(raw)
    except RecursionError as exc:
        raise _too_deep() from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise RequestError(f"The request's body is not valid JSON: {exc}.", code="invalid_json") from exc
    if not isinstance(parsed, dict):
        raise RequestError("The request's body must be a JSON object.", code="invalid_json")
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _check_depth(parsed)
    return parsed


def _check_depth(parsed: Any) -> None:
    level = [parsed]
    for _ in range(MAX_DEPTH):
        children = (child for node in level for child in (node.values() if isinstance(node, dict) else node))
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> RequestError:
    return RequestError(f"The request's body is nested more than {MAX_DEPTH} levels deep.", code="invalid_json")


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request's body is larger than {limit} bytes.")
