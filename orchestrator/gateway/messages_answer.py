"""An answer of chat completions as Anthropic's Messages API gives it: whole, as a stream of events, or as an error.

    message(completion, stop_sequences=())      # {"type": "message", "content": [{"type": "text", "text": "Hello"}], ...}
    events = MessageEvents(stop_sequences=())
    for chunk in chunks:
        for event in events.feed(chunk): ...    # {"type": "content_block_delta", "index": 0, "delta": {...}}
    for event in events.finish(): ...           # message_delta with the reason and the usage, message_stop

Thinking carries an empty signature, since nobody here signs it. Not here: requests (`messages_request.py`), SSE bytes, routes.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from orchestrator.errors import AllExpertsFailed
from orchestrator.gateway.completion import Choice, Completion, Usage
from orchestrator.gateway.errors import Failure
from orchestrator.gateway.parts import Part, PartEvent, Parts, parts_of

Event = dict[str, Any]
STOP_REASONS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
DELTAS = {
    "reasoning": ("thinking_delta", "thinking"),
    "text": ("text_delta", "text"),
    "refusal": ("text_delta", "text"),
    "tool": ("input_json_delta", "partial_json"),
}


def message(completion: Completion, stop_sequences: Sequence[str]) -> dict[str, Any]:
    """The message that a whole chat completion stands for. A tool call that `max_tokens` cut off is left out.

    Raises `AllExpertsFailed` when the arguments of a tool call are no JSON object.
    """
    choice = completion.choice
    cut_off = choice.finish_reason == "length"
    parts = [part for part in parts_of(choice.said) if part.may_end or not part.text or not cut_off]
    answer = _new_message(completion.model)
    answer["content"] = [_block(part) for part in parts]
    answer |= _stop(choice, parts, stop_sequences)
    answer["usage"] = _usage(completion.usage)
    return answer


def _new_message(model: str) -> dict[str, Any]:
    """A message before anything was said."""
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(None),
    }


def _empty_block(part: Part) -> dict[str, Any]:
    """A content block before anything was said in it. A refusal is text; `stop_reason` tells it apart."""
    if part.kind == "reasoning":
        return {"type": "thinking", "thinking": "", "signature": ""}
    if part.kind == "tool":
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": {}}
    return {"type": "text", "text": ""}


def _block(part: Part) -> dict[str, Any]:
    if part.kind == "tool":
        return _empty_block(part) | {"input": _arguments(part)}
    _, key = DELTAS[part.kind]
    return _empty_block(part) | {key: part.text}


def _arguments(part: Part) -> dict[str, Any]:
    try:
        return msgspec.json.decode(part.text or "{}", type=dict[str, Any])
    except msgspec.DecodeError as exc:
        raise AllExpertsFailed(f"the expert called '{part.name}' with arguments that are not a JSON object") from exc


def _stop(choice: Choice, parts: Iterable[Part], stop_sequences: Sequence[str]) -> dict[str, Any]:
    """Why it ended. Servers that say which sequence stopped them (vLLM's `stop_reason`) are heard."""
    kinds = {part.kind for part in parts}
    sequence = choice.stop_reason if choice.stop_reason in stop_sequences else None
    reason = STOP_REASONS.get(choice.finish_reason or "stop", "end_turn")
    if reason == "end_turn" and "tool" in kinds:
        reason = "tool_use"
    elif reason == "end_turn" and "refusal" in kinds:
        reason = "refusal"
    elif reason == "end_turn" and sequence is not None:
        reason = "stop_sequence"
    return {"stop_reason": reason, "stop_sequence": sequence if reason == "stop_sequence" else None}


def _usage(counted: Usage | None) -> dict[str, int]:
    """Anthropic counts cached tokens apart from `input_tokens`. Zero where the expert said nothing."""
    counted = counted or Usage()
    return {
        "input_tokens": max(counted.prompt_tokens - counted.cached_tokens, 0),
        "output_tokens": counted.completion_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": counted.cached_tokens,
    }


def error_body(failure: Failure, request_id: str | None) -> dict[str, Any]:
    """Anthropic's error body, also the data of its `error` event."""
    kind = ERROR_TYPES.get(failure.status, "api_error" if failure.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": failure.message}, "request_id": request_id}


class MessageEvents:
    """The stream of one message. Blocks come one after the other; `message_start` comes with the first chunk.

    notice: what the message's `switchyard` member says, if anything.
    """

    def __init__(self, stop_sequences: Sequence[str]) -> None:
        self.notice: Mapping[str, Any] | None = None
        self._stop_sequences = stop_sequences
        self._parts = Parts()
        self._seen: list[Part] = []
        self._ending = Choice()
        self._usage: Usage | None = None
        self._started = False

    def feed(self, chunk: Completion) -> Iterator[Event]:
        yield from self._start(chunk.model)
        yield from self._blocks(self._parts.feed(chunk.choice.said))
        self._usage = chunk.usage or self._usage
        if chunk.choice.finish_reason:
            self._ending = chunk.choice

    def finish(self) -> Iterator[Event]:
        yield from self._start("")
        yield from self._blocks(self._parts.close())
        delta = _stop(self._ending, self._seen, self._stop_sequences)
        yield {"type": "message_delta", "delta": delta, "usage": _usage(self._usage)}
        yield {"type": "message_stop"}

    def _start(self, model: str) -> Iterator[Event]:
        if not self._started:
            self._started = True
            notice = {"switchyard": self.notice} if self.notice else {}
            yield {"type": "message_start", "message": _new_message(model) | notice}
            yield {"type": "ping"}

    def _blocks(self, events: Iterable[PartEvent]) -> Iterator[Event]:
        for verb, part, delta in events:
            if verb == "started":
                self._seen.append(part)
                yield {"type": "content_block_start", "index": part.index, "content_block": _empty_block(part)}
            elif verb == "grew":
                kind, key = DELTAS[part.kind]
                yield {"type": "content_block_delta", "index": part.index, "delta": {"type": kind, key: delta}}
            else:
                yield {"type": "content_block_stop", "index": part.index}
