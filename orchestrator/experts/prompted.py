"""What experts that stand on another one share: they put something before the messages, and the answer carries their name.

    body["messages"] = with_system(body["messages"], "You are a pirate.")
    answer = await ask_base(spec, services.expert, replace(call, body=body))

The base is looked up for every call, so that a reload is followed; it keeps the time, and shares its place in memory (`spec.host`).
Not here: what is put there (`persona.py`, `prompts.py`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from orchestrator.config import PromptedBase
from orchestrator.errors import ExpertError
from orchestrator.experts.base import Expert
from orchestrator.experts.envelope import NULL, decode, encode, label, read_usage
from orchestrator.experts.sse import data_of
from orchestrator.types import Answer, Call, Usage

NOTHING = Usage()


def with_system(messages: Sequence[dict[str, Any]], system: str) -> list[dict[str, Any]]:
    """The messages with `system` before everything a first system or developer message says.

    It is joined to that one, as many chat templates take one such message only.
    """
    first = messages[0] if messages else {}
    if first.get("role") not in ("system", "developer"):
        return [{"role": "system", "content": system}, *messages]
    said = first.get("content")
    if isinstance(said, list):
        return [{**first, "content": [{"type": "text", "text": system}, *said]}, *messages[1:]]
    return [{**first, "content": f"{system}\n\n{said}" if said else system}, *messages[1:]]


async def ask_base(spec: PromptedBase, expert: Callable[[str], Expert], call: Call, spent: Usage = NOTHING) -> Answer:
    """The base's answer under the name of `spec`, as which its errors count too. spent: what was used before, and is added."""
    try:
        answer = await expert(spec.base).answer(call)
    except ExpertError as error:
        error.expert = spec.name
        raise
    return await under_name(answer, spec.name, spent)


async def under_name(answer: Answer, expert: str, spent: Usage = NOTHING) -> Answer:
    """An answer that carries another expert's name. spent: what was used besides, and is added."""
    name = label(expert)
    if answer.body is not None:
        return Answer(body=_renamed(answer.body, name, spent), usage=_sum(answer.usage, spent))
    assert answer.events is not None
    total = _sum(answer.usage, spent)
    events = _renamed_events(answer.events, name, answer.usage, spent, total)
    await anext(events)
    return replace(answer, events=events, usage=total)


def _sum(usage: Usage, spent: Usage) -> Usage:
    return Usage(usage.prompt_tokens + spent.prompt_tokens, usage.completion_tokens + spent.completion_tokens)


def _renamed(payload: bytes, name: msgspec.Raw, spent: Usage) -> bytes:
    envelope = decode(payload)
    envelope["model"] = name
    if spent != NOTHING and envelope.get("usage", NULL) != NULL:
        envelope["usage"] = _added(envelope["usage"], spent)
    return encode(envelope)


def _added(usage: msgspec.Raw, spent: Usage) -> msgspec.Raw:
    """An OpenAI usage object with `spent` in its counts."""
    known, counts = Usage(), msgspec.json.decode(usage)
    read_usage(usage, known)
    total = _sum(known, spent)
    sums = {"prompt_tokens": total.prompt_tokens, "completion_tokens": total.completion_tokens}
    sums["total_tokens"] = sum(sums.values())
    return msgspec.Raw(msgspec.json.encode((counts if isinstance(counts, dict) else {}) | sums))


async def _renamed_events(
    events: AsyncGenerator[bytes, None], name: msgspec.Raw, usage: Usage, spent: Usage, total: Usage
) -> AsyncGenerator[bytes, None]:
    """The same blocks under another name, preceded by an empty one: once that was taken, closing this closes `events`.

    usage: the base's, filled in while it streams, as is `total`.
    """
    try:
        yield b""
        async for block in events:
            total.prompt_tokens = usage.prompt_tokens + spent.prompt_tokens
            total.completion_tokens = usage.completion_tokens + spent.completion_tokens
            yield b"".join(_renamed_event(event, name, spent) for event in block.split(b"\n\n") if event)
    finally:
        await events.aclose()


def _renamed_event(event: bytes, name: msgspec.Raw, spent: Usage) -> bytes:
    data = data_of(event)
    if data in (b"", b"[DONE]"):
        return event + b"\n\n"
    return b"data: " + _renamed(data, name, spent) + b"\n\n"
