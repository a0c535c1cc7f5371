"""The outermost object of an OpenAI response, opened without touching what is inside.

    envelope = decode(b'{"model": "up", "choices": [{"text": "hi"}]}')     # {"model": Raw(b'"up"'), "choices": Raw(b'[{"t...')}
    envelope["model"] = label("smollm2")
    encode(envelope)                                                       # b'{"model":"smollm2","choices":[{"text": "hi"}]}'

Keys are parsed and values are only walked over, so renaming the model can't alter a byte of what the model said, and half a
JSON or an HTML page is noticed. Not here: streams (`sse.py`), and what an error in a body means (`failures.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.types import Kind, Usage

Envelope = dict[str, msgspec.Raw]
NULL = msgspec.Raw(b"null")
_ERROR = msgspec.Raw(b'"error"')


class _Object(msgspec.Struct):
    """Any JSON object."""


class _Message(msgspec.Struct):
    message: _Object


class _Text(msgspec.Struct):
    text: str


_ENVELOPE = msgspec.json.Decoder(Envelope)
_ENCODER = msgspec.json.Encoder()
_FIELD_OF_KIND: dict[Kind, str] = {"chat": "choices", "completion": "choices", "embedding": "data", "rerank": "results"}
_ITEM_OF_KIND: dict[Kind, type] = {"chat": _Message, "completion": _Text, "embedding": _Object, "rerank": _Object}
_ITEMS_OF_KIND = {kind: msgspec.json.Decoder(list[item]) for kind, item in _ITEM_OF_KIND.items()}  # type: ignore[valid-type]


def decode(body: bytes) -> Envelope:
    """Raises `ValueError` for everything that is not one JSON object."""
    try:
        return _ENVELOPE.decode(body)
    except RecursionError as exc:
        raise ValueError("JSON is nested too deeply") from exc


def encode(envelope: Envelope) -> bytes:
    return _ENCODER.encode(envelope)


def label(expert: str) -> msgspec.Raw:
    """The expert's name as a JSON value."""
    return msgspec.Raw(_ENCODER.encode(expert))


def is_error(envelope: Envelope) -> bool:
    """Whether a body or event says that something failed: OpenAI's `error`, or vLLM's older `"object": "error"`."""
    return envelope.get("error", NULL) != NULL or envelope.get("object") == _ERROR


def check_answers(envelope: Envelope, kind: Kind) -> None:
    """Raises `ValueError` unless it holds what such a request is answered with: choices, vectors or scores."""
    field = _FIELD_OF_KIND[kind]
    try:
        items = _ITEMS_OF_KIND[kind].decode(envelope.get(field, NULL))
    except RecursionError as exc:
        raise ValueError("JSON is nested too deeply") from exc
    if field == "choices" and not items:
        raise ValueError("there is no choice")


def read_usage(value: msgspec.Raw, into: Usage) -> None:
    """Take over the token counts that are there; whatever else stands in `usage` is ignored."""
    usage: Any = msgspec.json.decode(value)
    if not isinstance(usage, dict):
        return
    completion = _count(usage.get("completion_tokens"))
    into.completion_tokens = completion
    into.prompt_tokens = _count(usage.get("prompt_tokens")) or max(_count(usage.get("total_tokens")) - completion, 0)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def as_events(envelope: Envelope, kind: Kind, *, with_usage: bool) -> bytes:
    """A whole answer as the events of a stream, for a server that does not stream."""
    choices: list[dict[str, Any]] = msgspec.json.decode(envelope["choices"])
    if kind == "chat":
        choices = [_as_delta(choice) for choice in choices]
    head = {"id": msgspec.Raw(b'""'), "created": msgspec.Raw(b"%d" % time.time()), **envelope}
    head["object"] = msgspec.Raw(b'"chat.completion.chunk"' if kind == "chat" else b'"text_completion"')
    usage = head.pop("usage", NULL)
    events = [{**head, "choices": choices}]
    if with_usage:
        events.append({**head, "choices": [], "usage": usage})
    return b"".join(b"data: " + _ENCODER.encode(event) + b"\n\n" for event in events)


def _as_delta(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice.pop("message")
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        message["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls) if isinstance(call, dict)]
    return {**choice, "delta": message}


def answer_text(body: Mapping[str, Any]) -> str:
    """What the first choice of a chat or plain completion says; empty when it says nothing."""
    for choice in body.get("choices", ()):
        return (choice.get("message") or {}).get("content") or choice.get("text") or ""
    return ""
