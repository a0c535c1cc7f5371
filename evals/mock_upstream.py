"""An OpenAI-compatible upstream that costs next to nothing, so that a benchmark sees the gateway and not it.

    python -m evals.mock_upstream --port 9000 --chunks 200

It answers every request with the same chat completion after `--latency-ms`, or, when the body asks for a stream, with `--chunks`
SSE events, each its own write, with `--interval-ms` between them. One raw asyncio protocol; it checks nothing. Tests have a
scripted upstream of their own.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import cast

import msgspec
import uvloop

_COMPLETION = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 1,
    "model": "mock",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 40}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 40, "total_tokens": 60},
}


def _event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    event = {**_COMPLETION, "object": "chat.completion.chunk", "choices": [choice]}
    del event["usage"]
    return b"data: " + msgspec.json.encode(event) + b"\n\n"


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


class MockUpstream(asyncio.Protocol):
    """chunks: events of a stream. interval_s: between them; 0 sends the next as soon as the loop comes round.

    latency_s: of a whole answer.
    """

    def __init__(self, chunks: int, interval_s: float, latency_s: float) -> None:
        self._interval_s = interval_s
        self._latency_s = latency_s
        body = msgspec.json.encode(_COMPLETION)
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._completion = head.encode() + body
        self._stream_head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        word, last = _chunk(_event({"content": "word "})), _chunk(_event({}, "stop"))
        self._events = [_chunk(_event({"role": "assistant", "content": ""})), *([word] * (chunks - 2)), last]
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        if len(body) < length:
            return
        del self._buffer[: end + 4 + length]
        if b'"stream":true' in body.replace(b" ", b""):
            self._transport.write(self._stream_head)
            self._send_event(0)
        elif self._latency_s:
            asyncio.get_running_loop().call_later(self._latency_s, self._transport.write, self._completion)
        else:
            self._transport.write(self._completion)

    def _send_event(self, i: int) -> None:
        if self._transport.is_closing():
            return
        if i == len(self._events):
            self._transport.write(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
            return
        self._transport.write(self._events[i])
        asyncio.get_running_loop().call_later(self._interval_s, self._send_event, i + 1)


async def _serve(arguments: argparse.Namespace) -> None:
    def upstream() -> MockUpstream:
        return MockUpstream(arguments.chunks, arguments.interval_ms / 1000, arguments.latency_ms / 1000)

    server = await asyncio.get_running_loop().create_server(upstream, arguments.host, arguments.port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--chunks", type=int, default=200)
    parser.add_argument("--interval-ms", type=float, default=0.0)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    uvloop.run(_serve(parser.parse_args()))
