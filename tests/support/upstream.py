"""A scripted OpenAI-compatible server for tests and benchmarks: answers normally, or fails in every way an upstream can.

    async with running_upstream() as upstream:
        upstream.script.extend(["500", "ok"])           # the next two requests; after that, everything is answered normally
        ... ask f"{upstream.base_url}/chat/completions" ...
        assert upstream.requests[0].body["model"] == "x"

What a request gets, in this order: the next entry of `script`; the behaviour after `fault-` in its `model` (`fault-429`); what is
`usual`, a normal answer. An entry is a name below or a handler of your own, `async (Exchange) -> web.StreamResponse`; `replies`,
`sends` and `says` make common ones. Normal answers are chat, completions, embeddings and rerank, streamed in `num_chunks` pieces
when asked to (with usage when `include_usage` asks), and show `message`, whatever was asked; each takes `delay_s` (and `pause_s`
between pieces).

    ok                a normal answer                      redirect          307 to another host
    hang              no headers, ever                     html              200 with an HTML page
    hang-mid-body     half a JSON, then nothing            half-json         200 with half a JSON
    hang-mid-stream   two chunks, then nothing             empty             200 without a body
    reset             closes before headers                wrong-types       200, choices is a text
    reset-reused      closes, if the connection was used   error-200         200 with an error object
    reset-mid-body    half the promised body               plain-json        a whole JSON, stream or not
    reset-mid-stream  two chunks, then closes              gzip              a normal answer, compressed
    400 401 403 404 408 409 413 422 429 500 502 503 504 529   that status with OpenAI's error object (429: Retry-After 7)
    context-400       400 with OpenAI's context_length_exceeded

    Streams: no-done       finish_reason, but no [DONE]       error-first       an error event before any content
             truncated     neither of the two                 error-later       an error event after two chunks
             bytewise      every byte written by itself       no-chunks          [DONE] and nothing else
             garbage       a chunk, then an event that isn't JSON

`upstream.arrived` is set when a request is there, `upstream.gone` when a client leaves before its answer is whole.
For connections that are refused there is `refusing_url()`.
`python -m tests.support.upstream 8001` serves on a port until it is interrupted.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakSet

from aiohttp import web

UPSTREAM_MODEL = "upstream-model-2026"
PROMPT_TOKENS = 7
ERROR = {"error": {"message": "scripted failure", "type": "server_error", "param": None, "code": None}}


@dataclass(frozen=True)
class Exchange:
    """One request as it was received, and the server that received it."""

    upstream: Upstream
    request: web.Request
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def streamed(self) -> bool:
        return self.body.get("stream") is True


Handler = Callable[[Exchange], Awaitable[web.StreamResponse]]


@dataclass
class Upstream:
    """What it says, what it will do next, and what it has seen."""

    base_url: str = ""
    message: dict[str, Any] = field(default_factory=lambda: {"role": "assistant", "content": "Hello from upstream."})
    num_chunks: int = 4
    delay_s: float = 0.0
    pause_s: float = 0.0
    script: deque[str | Handler] = field(default_factory=deque)
    usual: str | Handler = "ok"
    requests: list[Exchange] = field(default_factory=list)
    num_connections: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    _transports: WeakSet[asyncio.BaseTransport] = field(default_factory=WeakSet)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        exchange = Exchange(self, request, request.path, request.headers, body)
        self.requests.append(exchange)
        self.arrived.set()
        try:
            await asyncio.sleep(self.delay_s)
            return await self._next(body)(exchange)
        except (asyncio.CancelledError, ConnectionResetError):
            self.gone.set()
            raise
        finally:
            if request.transport is not None and request.transport not in self._transports:
                self._transports.add(request.transport)
                self.num_connections += 1

    def was_used(self, request: web.Request) -> bool:
        """Whether an earlier request came by the same connection."""
        return request.transport in self._transports

    def _next(self, body: dict[str, Any]) -> Handler:
        model = str(body.get("model", ""))
        entry = (
            self.script.popleft()
            if self.script
            else model.removeprefix("fault-")
            if model.startswith("fault-")
            else self.usual
        )
        if not isinstance(entry, str):
            return entry
        return BEHAVIOURS[entry] if entry in BEHAVIOURS else status(int(entry))


@asynccontextmanager
async def running_upstream(
    port: int = 0, *, listener: socket.socket | None = None, **settings: Any
) -> AsyncIterator[Upstream]:
    """An upstream on a free port of 127.0.0.1, or at `listener`. settings: fields of `Upstream`."""
    upstream = Upstream(**settings)
    app = web.Application(client_max_size=2**30)
    app.router.add_post("/v1/{path:.+}", upstream.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.SockSite(runner, listener) if listener else web.TCPSite(runner, "127.0.0.1", port)
    try:
        await site.start()
        upstream.base_url = "http://{}:{}/v1".format(*runner.addresses[0])
        yield upstream
    finally:
        await runner.cleanup()


@contextmanager
def refusing_url() -> Iterator[str]:
    """An address where connections are refused: its port is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


# What is said


def usage(num_completion_tokens: int) -> dict[str, int]:
    total = PROMPT_TOKENS + num_completion_tokens
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": num_completion_tokens, "total_tokens": total}


def answer(exchange: Exchange) -> dict[str, Any]:
    """The whole body of a normal answer."""
    upstream, body = exchange.upstream, exchange.body
    counted = {"model": UPSTREAM_MODEL, "usage": usage(upstream.num_chunks)}
    match exchange.path.removeprefix("/v1/"):
        case "embeddings":
            inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
            vectors = [{"object": "embedding", "index": i, "embedding": [float(i), 0.5]} for i in range(len(inputs))]
            return {"object": "list", "data": vectors, **counted}
        case "rerank":
            scores = [{"index": i, "relevance_score": 1 / (i + 1)} for i in range(len(body["documents"]))]
            return {"id": "rerank-1", "results": scores, **counted}
        case "completions":
            choice = {"index": 0, "text": upstream.message["content"], "logprobs": None, "finish_reason": "stop"}
            return {"id": "cmpl-1", "object": "text_completion", "created": 1, "choices": [choice], **counted}
    choice = {"index": 0, "message": upstream.message, "logprobs": None, "finish_reason": finish_reason(upstream)}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "choices": [choice], **counted}


def finish_reason(upstream: Upstream) -> str:
    return "tool_calls" if "tool_calls" in upstream.message else "stop"


def chunk(exchange: Exchange, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """One chunk of a stream: `delta` for chat, its content as text for completions."""
    chat = exchange.path.endswith("chat/completions")
    said = {"delta": delta} if chat else {"text": delta.get("content", "")}
    return {
        "id": "chatcmpl-1" if chat else "cmpl-1",
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": 1,
        "model": UPSTREAM_MODEL,
        "choices": [{"index": 0, **said, "logprobs": None, "finish_reason": finish}],
    }


def deltas(upstream: Upstream) -> list[dict[str, Any]]:
    """The message in pieces: role, content in `num_chunks` parts, each tool call as a head and its arguments."""
    content = upstream.message.get("content") or ""
    size = max(1, -(-len(content) // upstream.num_chunks))
    pieces: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    pieces += [{"content": content[i : i + size]} for i in range(0, len(content), size)]
    for i, call in enumerate(upstream.message.get("tool_calls", ())):
        function = call["function"]
        pieces.append({"tool_calls": [{"index": i, **call, "function": {**function, "arguments": ""}}]})
        pieces.append({"tool_calls": [{"index": i, "function": {"arguments": function["arguments"]}}]})
    return pieces


def event(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def events(exchange: Exchange) -> list[bytes]:
    """The events of a normal stream."""
    chunks = [chunk(exchange, delta) for delta in deltas(exchange.upstream)]
    chunks.append(chunk(exchange, {}, finish_reason(exchange.upstream)))
    if (exchange.body.get("stream_options") or {}).get("include_usage"):
        chunks = [{**piece, "usage": None} for piece in chunks]
        chunks.append({**chunks[0], "choices": [], "usage": usage(exchange.upstream.num_chunks)})
    return [*map(event, chunks), DONE]


# How it is sent


def replies(body: bytes, status: int = 200, content_type: str = "application/json", **headers: str) -> Handler:
    """A handler that sends these bytes; `retry_after="3"` becomes the header `retry-after: 3`."""

    async def handler(exchange: Exchange) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(body=body, status=status, headers=named, content_type=content_type)

    return handler


def says(reply: Callable[[dict[str, Any]], dict[str, Any]]) -> Handler:
    """A handler that answers normally, with the message that `reply` makes of the request's body."""

    async def handler(exchange: Exchange) -> web.StreamResponse:
        upstream = replace(exchange.upstream, message=reply(exchange.body))
        return await ok(replace(exchange, upstream=upstream))

    return handler


def status(http_status: int, **fields: Any) -> Handler:
    """A handler that answers with this status and an error object with these fields."""
    error = {"error": {**ERROR["error"], **fields}}
    headers = {"retry_after": "7"} if http_status == 429 else {}
    return replies(json.dumps(error).encode(), http_status, **headers)


def sends(pieces: Sequence[bytes], then: str = "end") -> Handler:
    """A handler that streams these pieces of SSE, each in a write of its own, and then: `end`, `hang` or `reset`."""

    async def handler(exchange: Exchange) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(exchange.request)
        for i, piece in enumerate(pieces):
            if i and exchange.upstream.pause_s:
                await asyncio.sleep(exchange.upstream.pause_s)
            await response.write(piece)
        await finish(exchange, then)
        return response

    return handler


async def finish(exchange: Exchange, then: str) -> None:
    if then == "hang":
        await asyncio.Event().wait()
    if then == "reset" and exchange.request.transport is not None:
        exchange.request.transport.abort()


def body_cut_short(then: str) -> Handler:
    """Promises a whole body, sends half of it."""

    async def handler(exchange: Exchange) -> web.StreamResponse:
        body = json.dumps(answer(exchange)).encode()
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
        await response.prepare(exchange.request)
        await response.write(body[: len(body) // 2])
        await finish(exchange, then)
        return response

    return handler


async def ok(exchange: Exchange) -> web.StreamResponse:
    if exchange.streamed:
        return await sends(events(exchange))(exchange)
    return await plain_json(exchange)


async def plain_json(exchange: Exchange) -> web.StreamResponse:
    return web.json_response(answer(exchange))


async def compressed(exchange: Exchange) -> web.StreamResponse:
    response = web.json_response(answer(exchange))
    response.enable_compression(web.ContentCoding.gzip)
    return response


async def redirect(exchange: Exchange) -> web.StreamResponse:
    return web.Response(status=307, headers={"Location": "http://127.0.0.1:9/v1/chat/completions"})


async def nothing(exchange: Exchange) -> web.StreamResponse:
    await finish(exchange, "hang")
    raise AssertionError("unreachable")


async def reset(exchange: Exchange) -> web.StreamResponse:
    await finish(exchange, "reset")
    return web.Response()


async def reset_reused(exchange: Exchange) -> web.StreamResponse:
    if exchange.upstream.was_used(exchange.request):
        return await reset(exchange)
    return await ok(exchange)


def part_of_stream(last: Sequence[bytes], *, num_events: int = 3, then: str = "end") -> Handler:
    """The first events of a normal stream (role and two chunks), then `last`."""

    async def handler(exchange: Exchange) -> web.StreamResponse:
        return await sends([*events(exchange)[:num_events], *last], then)(exchange)

    return handler


async def without_done(exchange: Exchange) -> web.StreamResponse:
    return await sends(events(exchange)[:-1])(exchange)


async def bytewise(exchange: Exchange) -> web.StreamResponse:
    return await sends([bytes([byte]) for byte in b"".join(events(exchange))])(exchange)


BEHAVIOURS: dict[str, Handler] = {
    "ok": ok,
    "plain-json": plain_json,
    "gzip": compressed,
    "redirect": redirect,
    "hang": nothing,
    "hang-mid-body": body_cut_short("hang"),
    "hang-mid-stream": part_of_stream([], then="hang"),
    "reset": reset,
    "reset-reused": reset_reused,
    "reset-mid-body": body_cut_short("reset"),
    "reset-mid-stream": part_of_stream([], then="reset"),
    "html": replies(b"<html><body>Bad gateway</body></html>", content_type="text/html"),
    "half-json": replies(b'{"id": "chatcmpl-1", "choices": [{"index": 0, "mess'),
    "empty": replies(b""),
    "wrong-types": replies(b'{"id": 1, "object": "chat.completion", "choices": "none", "data": {}, "results": 3}'),
    "error-200": replies(json.dumps(ERROR).encode()),
    "context-400": status(
        400, code="context_length_exceeded", message="This model's maximum context length is 512 tokens."
    ),
    "no-done": without_done,
    "truncated": part_of_stream([]),
    "error-first": part_of_stream([event(ERROR)], num_events=1),
    "error-later": part_of_stream([event(ERROR)]),
    "bytewise": bytewise,
    "no-chunks": sends([DONE]),
    "garbage": part_of_stream([b"data: {not json\n\n"]),
}


async def serve(port: int) -> None:
    async with running_upstream(port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
