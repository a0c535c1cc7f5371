"""Any server that speaks OpenAI's HTTP: the request goes out and the bytes come back, under the expert's name.

    experts:
      - {name: gpt-large, backend: openai, base_url: https://api.example.com/v1, api_key_env: EXAMPLE_API_KEY}

    server = CompatibleServer("smollm2", http, spec.timeouts, spec.parameters, upstream_model=None)
    answer = await server.answer(call, Endpoint("http://127.0.0.1:41234/v1", token))      # how experts with weights are asked

The client's own headers are never passed on, redirects are never followed, and an answer is only checked for its shape, never
encoded again. Not here: retries, fallback and what an answer costs.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

import aiohttp
import msgspec
from multidict import CIMultiDict
from yarl import URL

from orchestrator.config import OpenAISpec, ParameterMap, Timeouts
from orchestrator.errors import ConfigError, ExpertError
from orchestrator.experts.base import Expert, Services
from orchestrator.experts.envelope import (
    Envelope,
    as_events,
    check_answers,
    decode,
    encode,
    is_error,
    label,
    read_usage,
)
from orchestrator.experts.failures import SHORTEST_SECRET, from_envelope, from_exception, from_response
from orchestrator.experts.parameters import Parameters
from orchestrator.experts.session import Response, Target, post
from orchestrator.experts.sse import DONE, ChunkRelay
from orchestrator.types import Answer, Call, Endpoint, Kind, Usage

MAX_BODY_BYTES = 64 * 2**20
CLOSE_AFTER_S = 1.0
"""How long after `[DONE]` the end of the response is waited for, so that its connection can be used again."""

_PATHS: dict[Kind, str] = {
    "chat": "chat/completions",
    "completion": "completions",
    "embedding": "embeddings",
    "rerank": "rerank",
}
_NO_HEADERS: Mapping[str, str] = {}


def make(spec: OpenAISpec, services: Services) -> Expert:
    """Raises `ConfigError` when the key's variable is not set, or address or headers can't be used."""
    _check_address(spec)
    endpoint = Endpoint(spec.base_url, read_key(spec.name, spec.api_key_env))
    server = CompatibleServer(spec.name, services.http, spec.timeouts, spec.parameters, spec.model, spec.headers)
    return RemoteExpert(server, endpoint)


def _check_address(spec: OpenAISpec) -> None:
    try:
        url = URL(spec.base_url)
    except ValueError as exc:
        raise ConfigError(f"expert '{spec.name}': base_url is no address: {exc}") from exc
    if url.user is not None:
        raise ConfigError(
            f"expert '{spec.name}': base_url holds credentials; expected the key in api_key_env's variable"
        )
    for name, value in spec.headers.items():
        if not name.isprintable() or not value.isprintable():
            raise ConfigError(f"expert '{spec.name}': header '{name}' holds a control character")


def read_key(expert: str, variable: str | None) -> str:
    """The key in the named environment variable; empty when none is named."""
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key or not key.isprintable():
        raise ConfigError(f"expert '{expert}': environment variable {variable} holds no key")
    return key


class RemoteExpert:
    """A compatible server at a fixed address."""

    def __init__(self, server: CompatibleServer, endpoint: Endpoint) -> None:
        self._server = server
        self._endpoint = endpoint

    async def answer(self, call: Call) -> Answer:
        return await self._server.answer(call, self._endpoint)


class CompatibleServer:
    """Asks one model of a compatible server, wherever it is just now. upstream_model: its name there, by default the expert's.

    headers: sent besides the bearer token.
    """

    def __init__(
        self,
        name: str,
        http: aiohttp.ClientSession,
        timeouts: Timeouts,
        parameters: ParameterMap,
        upstream_model: str | None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        self._name = name
        self._http = http
        self._timeouts = timeouts
        self._parameters = Parameters(name, parameters)
        self._model = upstream_model or name
        self._label = label(name)
        self._headers = CIMultiDict(headers)
        self._headers.setdefault("Content-Type", "application/json")
        self._secrets = tuple(value for value in headers.values() if len(value) >= SHORTEST_SECRET)
        self._client_timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect_s)
        self._targets: dict[Kind, tuple[Endpoint, Target, tuple[str, ...]]] = {}

    async def answer(self, call: Call, endpoint: Endpoint) -> Answer:
        """As `Expert.answer`."""
        body = msgspec.json.encode(self._request(call))
        target, secrets = self._target(endpoint, call.kind)
        try:
            async with asyncio.timeout(min(self._timeouts.first_byte_s, _remaining_s(call))) as limit:
                response = await post(self._http, target, body, self._client_timeout)
                try:
                    response.limit_silence(self._timeouts.idle_s)
                    return await self._receive(call, response, limit, secrets)
                except BaseException:  # a cancelled call aborts the expert, too
                    response.close()
                    raise
        except (TimeoutError, aiohttp.ClientError) as exc:
            raise from_exception(self._name, exc) from exc

    def _target(self, endpoint: Endpoint, kind: Kind) -> tuple[Target, tuple[str, ...]]:
        """Where such calls go, and what must never be shown of it; made again only when the server has moved."""
        made_for, target, secrets = self._targets.get(kind, (None, None, ()))
        if target is None or made_for is not endpoint:
            url = URL(f"{endpoint.base_url.rstrip('/')}/{_PATHS[kind]}")
            sent = CIMultiDict(self._headers)
            if endpoint.token:
                sent.setdefault("Authorization", f"Bearer {endpoint.token}")
            target = Target(url, sent)
            secrets = (endpoint.token, url.host or "", *self._secrets)
            self._targets[kind] = endpoint, target, secrets
        return target, secrets

    def _request(self, call: Call) -> dict[str, Any]:
        """The body as this server wants it. A stream is asked for its usage, so that its cost is known; for servers that
        don't know `stream_options`, the parameter map drops it."""
        body = self._parameters.apply(call.body)
        options = body.get("stream_options") or {}
        if body.get("stream") is True and isinstance(options, dict) and not self._parameters.touches("stream_options"):
            body["stream_options"] = {**options, "include_usage": True}
        body["model"] = self._model
        return body

    async def _receive(
        self, call: Call, response: Response, limit: asyncio.Timeout, secrets: tuple[str, ...]
    ) -> Answer:
        if not 200 <= response.status < 300:
            body = await self._read(response)
            raise from_response(self._name, response.status, response.headers, body, secrets=secrets)
        if call.stream and not response.content_type.endswith(("json", "html")):
            return await self._stream(call, response, secrets)
        if not response.content.is_eof():
            limit.reschedule(asyncio.get_running_loop().time() + _remaining_s(call))
        return self._whole(call, await self._read(response), secrets)

    async def _read(self, response: Response) -> bytes:
        pieces, size = [], 0
        while piece := await response.content.readany():
            size += len(piece)
            if size > MAX_BODY_BYTES:
                message = f"{self._name} answered with more than {MAX_BODY_BYTES >> 20} MB"
                raise ExpertError(self._name, "malformed", message)
            pieces.append(piece)
        return b"".join(pieces)

    def _whole(self, call: Call, body: bytes, secrets: tuple[str, ...]) -> Answer:
        usage = Usage()
        envelope = self._open(call, body, usage, secrets)
        envelope["model"] = self._label
        if not call.stream:
            return Answer(body=encode(envelope), usage=usage)
        events = as_events(envelope, call.kind, with_usage=_wants_usage(call))
        return Answer(events=_one_block(events + DONE), usage=usage)

    def _open(self, call: Call, body: bytes, usage: Usage, secrets: tuple[str, ...]) -> Envelope:
        """The answer's outermost object, if it is one; fills in the usage."""
        try:
            envelope = decode(body)
            if is_error(envelope):
                raise from_envelope(self._name, envelope, secrets=secrets)
            check_answers(envelope, call.kind)
            if "usage" in envelope:
                read_usage(envelope["usage"], usage)
        except ValueError as exc:
            message = f"{self._name} answered with something else than asked for"
            raise ExpertError(self._name, "malformed", message) from exc
        return envelope

    async def _stream(self, call: Call, response: Response, secrets: tuple[str, ...]) -> Answer:
        usage = Usage()
        translate = partial(from_envelope, self._name, secrets=secrets)
        relay = ChunkRelay(self._name, usage, hide_usage=not _wants_usage(call), translate=translate)
        events = self._events(response, relay, _remaining_s(call))
        await anext(events)
        return Answer(events=events, usage=usage)

    async def _events(self, response: Response, relay: ChunkRelay, remaining_s: float) -> AsyncGenerator[bytes, None]:
        """The relay's blocks. Once the first was taken, closing the generator closes the connection, and so does its failure."""
        content = response.content
        cut_off = asyncio.get_running_loop().call_later(remaining_s, content.set_exception, TimeoutError())
        try:
            async with aclosing(relay.blocks(content.readany)) as blocks:
                async for block in blocks:
                    yield block
            await _wait_for_end(content)
        except (TimeoutError, aiohttp.ClientError) as exc:
            raise from_exception(self._name, response.failure or exc) from exc
        finally:
            cut_off.cancel()
            if not content.is_eof():
                response.close()


def _remaining_s(call: Call) -> float:
    return call.deadline - time.monotonic()


def _wants_usage(call: Call) -> bool:
    options = call.body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


async def _wait_for_end(content: aiohttp.StreamReader) -> None:
    """After `[DONE]` nothing comes but the end, and it no longer matters how."""
    if not content.is_eof():
        with suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(CLOSE_AFTER_S):
                await content.readany()


async def _one_block(block: bytes) -> AsyncGenerator[bytes, None]:
    yield block
