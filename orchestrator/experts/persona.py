"""A system prompt over another expert, which answers with its own weights.

    experts:
      - {name: pirate, backend: persona, base: smollm2, system: You are a pirate.}

The persona's prompt comes before the client's own system or developer message and is joined to it: many chat templates take one
such message only. The base shares its place in memory with the persona (`spec.host`), and the answer carries the persona's name.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from orchestrator.config import PersonaSpec
from orchestrator.errors import ExpertError
from orchestrator.experts.base import Expert, Services
from orchestrator.experts.envelope import decode, encode, label
from orchestrator.experts.parameters import Parameters
from orchestrator.experts.sse import data_of
from orchestrator.types import Answer, Call


def make(spec: PersonaSpec, services: Services) -> Expert:
    return Persona(spec, services.expert)


class Persona:
    """Looks its base up for every call, so that it follows a reload. The time is kept by the base."""

    def __init__(self, spec: PersonaSpec, expert: Callable[[str], Expert]) -> None:
        self._spec = spec
        self._expert = expert
        self._parameters = Parameters(spec.name, spec.parameters)
        self._label = label(spec.name)

    async def answer(self, call: Call) -> Answer:
        """The base's answer under the persona's name; its errors count as the persona's."""
        body = self._parameters.apply(call.body)
        body["messages"] = with_system(body["messages"], self._spec.system)
        try:
            answer = await self._expert(self._spec.base).answer(replace(call, body=body))
        except ExpertError as error:
            error.expert = self._spec.name
            raise
        if answer.body is not None:
            return replace(answer, body=_renamed(answer.body, self._label))
        assert answer.events is not None
        events = _renamed_events(answer.events, self._label)
        await anext(events)
        return replace(answer, events=events)


def with_system(messages: Sequence[dict[str, Any]], system: str) -> list[dict[str, Any]]:
    """The messages with `system` before everything a first system or developer message says."""
    first = messages[0] if messages else {}
    if first.get("role") not in ("system", "developer"):
        return [{"role": "system", "content": system}, *messages]
    said = first.get("content")
    if isinstance(said, list):
        return [{**first, "content": [{"type": "text", "text": system}, *said]}, *messages[1:]]
    return [{**first, "content": f"{system}\n\n{said}" if said else system}, *messages[1:]]


def _renamed(payload: bytes, name: msgspec.Raw) -> bytes:
    envelope = decode(payload)
    envelope["model"] = name
    return encode(envelope)


async def _renamed_events(events: AsyncGenerator[bytes, None], name: msgspec.Raw) -> AsyncGenerator[bytes, None]:
    """The same blocks under another name, preceded by an empty one: once that was taken, closing this closes `events`."""
    try:
        yield b""
        async for block in events:
            yield b"".join(_renamed_event(event, name) for event in block.split(b"\n\n") if event)
    finally:
        await events.aclose()


def _renamed_event(event: bytes, name: msgspec.Raw) -> bytes:
    data = data_of(event)
    if data in (b"", b"[DONE]"):
        return event + b"\n\n"
    return b"data: " + _renamed(data, name) + b"\n\n"
