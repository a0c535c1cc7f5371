"""One request to a gateway, as any client sends it, and when its answer came: whole, or streamed and put together again.

    reply = await Http(session, "http://127.0.0.1:8700").post("/v1/chat/completions", {"model": "auto", "stream": True, ...})
    reply.body["choices"][0]["message"]["content"], reply.ttft_s, reply.latency_s

A refusal is a reply with an error in it; `GatewayError` is for what is no answer at all. Not here: what is asked, and what is kept.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from orchestrator.errors import GatewayError
from orchestrator.experts.sse import Framer, data_of

_DECISION = "x-switchyard-decision-id"


class GatewayGone(GatewayError):
    """Nobody listens there: nothing more can be asked."""


@dataclass(slots=True)
class Reply:
    """body: OpenAI's, or what a stream comes to as one; {} with an error. ttft_s: until the first token of a stream."""

    decision_id: str
    body: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    error_code: str | None = None
    latency_s: float = 0.0
    ttft_s: float | None = None

    def fail(self, error: Any) -> None:
        """error: OpenAI's object."""
        self.error, self.error_code = str(error["message"]), error.get("code")


class Http:
    """url: without `/v1`."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def get(self, path: str) -> bytes:
        """Raises `GatewayError` for anything but 200."""
        with _told(self.url):
            async with self._session.get(self.url + path) as response:
                body = await response.read()
        if response.status != 200:
            raise GatewayError(f"{self.url}: {_refusal(response, body)['message']}")
        return body

    async def post(self, path: str, body: dict[str, Any]) -> Reply:
        started = time.perf_counter()
        with _told(self.url):
            async with self._session.post(self.url + path, json=body) as response:
                reply = Reply(response.headers.get(_DECISION, ""))
                if response.content_type == "text/event-stream":
                    await _read_stream(response, reply, started)
                elif response.status != 200:
                    reply.fail(_refusal(response, await response.read()))
                else:
                    reply.body = msgspec.json.decode(await response.read(), type=dict[str, Any])
        reply.latency_s = time.perf_counter() - started
        return reply


@contextmanager
def _told(url: str) -> Iterator[None]:
    """What aiohttp and a body that is none raise, as `GatewayError`."""
    try:
        yield
    except aiohttp.ClientConnectorError as exc:
        raise GatewayGone(f"no gateway answers at {url}; start one with `switchyard serve`") from exc
    except aiohttp.InvalidURL as exc:
        raise GatewayGone(f"'{url}' is no address of a gateway; expected http://HOST:PORT") from exc
    except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as exc:
        raise GatewayError(f"the gateway at {url} gave no whole answer: {exc or type(exc).__name__}") from exc


def _refusal(response: aiohttp.ClientResponse, body: bytes) -> dict[str, Any]:
    """OpenAI's error object, or one in its place."""
    try:
        error = msgspec.json.decode(body, type=dict[str, dict[str, Any]])["error"]
    except (msgspec.MsgspecError, KeyError):
        error = {}
    return {"message": f"the server answered {response.status} {response.reason}", **error}


async def _read_stream(response: aiohttp.ClientResponse, reply: Reply, started: float) -> None:
    """Gather a stream's text. One that ends in an error has no body."""
    pieces: list[str] = []
    async for chunk in _chunks(response):
        if "error" in chunk:
            return reply.fail(chunk["error"])
        delta = next((choice.get("delta") or {} for choice in chunk.get("choices", ())), {})
        if reply.ttft_s is None and (delta.get("content") or delta.get("reasoning_content")):
            reply.ttft_s = time.perf_counter() - started
        pieces.append(delta.get("content") or "")
    reply.body = {"choices": [{"message": {"content": "".join(pieces)}}]}
    return None


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    framer = Framer()
    async for block in response.content.iter_any():
        for event in framer.feed(block):
            if (data := data_of(event)) not in (b"", b"[DONE]"):
                yield msgspec.json.decode(data, type=dict[str, Any])
