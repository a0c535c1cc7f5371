"""What the command line asks: a gateway that runs, or, where none does, the same pipeline in this process.

    async for piece in ask("What is 17 * 23?", model="auto", config_path=Path("experts.yaml"), url=None):
        ...                                     # text as it comes; a dict at the end: why this expert answered

The key for a gateway is in $SWITCHYARD_API_KEY. Not a client library: programs use OpenAI's.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp

from orchestrator.config import GatewaySpec
from orchestrator.configfile import parse_config, read_text
from orchestrator.errors import SwitchyardError
from orchestrator.types import Query, RequestOptions

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
_MAX_TOKENS = 512
_UP_S = aiohttp.ClientTimeout(total=2.0)


class GatewayRefused(SwitchyardError):
    """A running gateway answered with an error, or did not answer."""


def gateway_url(gateway: GatewaySpec) -> str:
    """Where a gateway that serves this configuration is reached from this machine."""
    host = _EVERYWHERE.get(gateway.host, gateway.host)
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{gateway.port}"


async def ask(text: str, *, model: str, config_path: Path, url: str | None) -> AsyncIterator[str | dict[str, Any]]:
    """The answer in pieces, then the explanation. With `url`, only that gateway is asked."""
    gateway = url or gateway_url(parse_config(read_text(config_path), config_path).gateway)
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": _MAX_TOKENS, "stream": True}
    through = _through_gateway(gateway, body) if url or await _is_up(gateway) else _in_process(config_path, body, text)
    explanation: dict[str, Any] = {}
    async with aclosing(through) as blocks:
        async for block in blocks:
            event = json.loads(block)
            explanation = event.get("switchyard") or explanation
            for choice in event.get("choices", ()):
                yield (choice.get("delta") or choice.get("message") or {}).get("content") or ""
    yield explanation
