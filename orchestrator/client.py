"""What the command line asks: a gateway that runs, or, where none does, the same pipeline in this process.

    async for piece in ask("What is 17 * 23?", model="auto", config_path=Path("experts.yaml"), url=None):
        ...                                     # text as it comes; a dict at the end: why this expert answered

The key for a gateway is in $SWITCHYARD_API_KEY. Not a client library: programs use OpenAI's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from orchestrator.config import GatewaySpec
from orchestrator.errors import GatewayError
from orchestrator.experts.sse import Framer, data_of
from orchestrator.fleet.configfile import read_config

_MAX_TOKENS = 512
_IS_UP_S = 2.0
_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def gateway_url(gateway: GatewaySpec) -> str:
    """Where a gateway with these settings is reached from this machine."""
    host = _LOCAL.get(gateway.host, gateway.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{gateway.port}"


async def ask(text: str, *, model: str, config_path: Path, url: str | None) -> AsyncIterator[str | dict[str, Any]]:
    """The answer in pieces, then the explanation. With `url`, only that gateway is asked. Raises `SwitchyardError`."""
    gateway = url or gateway_url(read_config(config_path).gateway)
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": _MAX_TOKENS, "stream": True}
    explanation: dict[str, Any] = {}
    through_gateway = url is not None or await _is_up(gateway)
    async for chunk in _ask_gateway(gateway, body) if through_gateway else _ask_pipeline(config_path, body):
        if "error" in chunk:
            raise GatewayError(chunk["error"]["message"])
        explanation = chunk.get("switchyard", explanation)
        for choice in chunk.get("choices", ()):
            yield (choice.get("delta") or choice.get("message") or {}).get("content") or ""
    yield explanation


async def command(url: str, path: str) -> None:
    """POST to a running gateway. Raises `GatewayError` with its reason."""
    await _request("POST", url, path)


async def read(url: str, path: str) -> bytes:
    """GET from a running gateway. Raises `GatewayError` with its reason."""
    return await _request("GET", url, path)


async def _request(method: str, url: str, path: str) -> bytes:
    async with _session(None) as http:
        try:
            async with http.request(method, url + path) as response:
                await _raise_for_error(response)
                return await response.read()
        except aiohttp.ClientConnectionError as exc:
            raise GatewayError(f"no gateway answers at {url}; start one with `switchyard serve`") from exc


def _session(total_s: float | None) -> aiohttp.ClientSession:
    key = os.environ.get("SWITCHYARD_API_KEY")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=total_s))


async def _is_up(url: str) -> bool:
    async with _session(_IS_UP_S) as http:
        try:
            async with http.get(f"{url}/healthz") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


async def _raise_for_error(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    try:
        message = json.loads(await response.read())["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"the server answered {response.status} {response.reason}"
    raise GatewayError(message)


async def _ask_gateway(url: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Chunks of a stream, or one whole answer where the model doesn't stream."""
    async with _session(None) as http:
        try:
            path = f"{url}/v1/chat/completions"
            async with http.post(path, json={**body, "switchyard": {"explain": True}}) as response:
                await _raise_for_error(response)
                if response.content_type != "text/event-stream":
                    yield await response.json()
                    return
                async for chunk in _chunks(response.content.iter_any()):
                    yield chunk
        except aiohttp.ClientError as exc:
            raise GatewayError(f"the gateway at {url} could not be asked: {exc}") from exc


async def _ask_pipeline(config_path: Path, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """The same without a gateway: everything is started for this one question, and stopped."""
    from orchestrator.gateway.requests import make_query
    from orchestrator.gateway.surface import explanation
    from orchestrator.service import running

    async with running(config_path) as service:
        timeout_s = service.fleet.config.gateway.request_timeout_s
        query = make_query("chat", body, received_at=time.monotonic(), timeout_s=timeout_s)
        reply = await service.pipeline.answer(query)
        if reply.body is not None:
            yield json.loads(reply.body)
        elif reply.events is not None:
            async for chunk in _chunks(reply.events):
                yield chunk
        yield {"switchyard": msgspec.to_builtins(explanation(reply.decision))}


async def _chunks(blocks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The JSON of a stream's events."""
    framer = Framer()
    async for block in blocks:
        for event in framer.feed(block):
            if (data := data_of(event)) not in (b"", b"[DONE]"):
                yield json.loads(data)
