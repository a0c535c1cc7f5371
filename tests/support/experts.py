"""Experts made from a few keys of YAML, and calls to ask them with."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, cast

import aiohttp
import msgspec

from orchestrator.config import Config, ExpertBase
from orchestrator.experts.base import Expert, Services
from orchestrator.experts.registry import make_expert
from orchestrator.types import Answer, Call, Kind
from routers.base import Encoder

NO_HTTP = cast(aiohttp.ClientSession, None)


def spec_of(**keys: Any) -> ExpertBase:
    """The spec of one expert; a persona's base is added."""
    base = [{"name": keys["base"], "backend": "echo"}] if "base" in keys else []
    return Config.model_validate({"version": 1, "experts": [keys, *base]}).by_name[keys["name"]]


def services(
    base_dir: Path = Path(),
    experts: Mapping[str, Expert] | None = None,
    http: aiohttp.ClientSession = NO_HTTP,
    encoders: tuple[Encoder, ...] = (),
) -> Services:
    return Services(http=http, expert=(experts or {}).__getitem__, base_dir=base_dir, encoders=encoders)


def expert_of(around: Services | None = None, **keys: Any) -> Expert:
    return make_expert(spec_of(**keys), around or services())


def chat(text: str = "Hello there, you", *, seconds: float = 30.0, **fields: Any) -> Call:
    """A chat call of one user turn, or of `messages`."""
    return call_of("chat", seconds=seconds, **{"messages": [{"role": "user", "content": text}], **fields})


def call_of(kind: Kind, *, seconds: float = 30.0, **fields: Any) -> Call:
    return Call(kind, {"model": "auto", **fields}, deadline=time.monotonic() + seconds)


def body_of(answer: Answer) -> Any:
    assert answer.body is not None
    return msgspec.json.decode(answer.body)


def text_of(answer: Answer) -> str:
    """What a chat answer says."""
    content = body_of(answer)["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content


async def events_of(answer: Answer) -> list[bytes]:
    """The `data` of all events of a stream; checks the blocks' shape."""
    data = []
    async for block in stream_of(answer):
        assert block == b"" or block.endswith(b"\n\n")
        for event in filter(None, block.split(b"\n\n")):
            assert event.startswith(b"data: ")
            data.append(event.removeprefix(b"data: "))
    return data


def stream_of(answer: Answer) -> AsyncGenerator[bytes, None]:
    assert answer.body is None
    assert answer.events is not None
    return answer.events
