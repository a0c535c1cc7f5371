"""What a client sees of an answer: the shapes of one API. OpenAI's own is here, and passes everything through.

    surface = OpenAISurface()
    surface.body(query, decision, b'{"choices": [...]}')          # with "switchyard": {...} where `explain` was asked for

`/v1/responses` and `/v1/messages` bring surfaces of their own, one object per request where they keep state. Sending is
in `streaming.py`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Awaitable
from typing import Any, Protocol

import msgspec

from orchestrator.gateway.errors import Failure
from orchestrator.types import Decision, Query


class EventStream(AsyncIterable[bytes], Protocol):
    """Blocks of whole SSE events, as an async generator has them. Raises `SwitchyardError` when the stream breaks."""

    def __anext__(self) -> Awaitable[bytes]: ...

    def aclose(self) -> Awaitable[None]:
        """Abort what is behind it."""
        ...


class Surface(Protocol):
    """From the pipeline's OpenAI shapes to those of the API that was called."""

    def body(self, query: Query, decision: Decision, body: bytes) -> bytes:
        """A whole answer."""
        ...

    def events(self, query: Query, decision: Decision, events: EventStream) -> EventStream:
        """A stream: blocks of whole SSE events, in and out. The caller closes both generators."""
        ...

    def notice(self, query: Query, decision: Decision) -> bytes:
        """The SSE event that says which expert answers, sent first where headers can't say it, or `explain` is on."""
        ...

    def progress(self, query: Query, note: str) -> bytes:
        """How the answer is getting on, before it begins: an SSE comment, or reasoning where the API has such a thing."""
        ...

    def error(self, failure: Failure) -> bytes:
        """The body of an error response."""
        ...

    def error_event(self, failure: Failure) -> bytes:
        """The last SSE event of a stream that broke."""
        ...


class OpenAISurface:
    """Bytes pass untouched, but for the `switchyard` object of `explain`."""

    def body(self, query: Query, decision: Decision, body: bytes) -> bytes:
        if not query.options.explain:
            return body
        return with_member(body, "switchyard", explanation(decision))

    def events(self, query: Query, decision: Decision, events: EventStream) -> EventStream:
        return events

    def notice(self, query: Query, decision: Decision) -> bytes:
        """A chunk that adds nothing, so that clients which know no SSE event names can take it for one of the answer's."""
        nothing: dict[str, Any] = {"delta": {}} if query.kind == "chat" else {"text": "", "logprobs": None}
        chunk = _chunk(query, decision.expert or query.model, nothing)
        told = explanation(decision) if query.options.explain else summary(decision)
        return sse("switchyard", chunk | {"switchyard": told})

    def progress(self, query: Query, note: str) -> bytes:
        if query.options.progress == "reasoning" and query.kind == "chat":
            chunk = _chunk(query, query.model, {"delta": {"reasoning_content": note + "\n"}})
            return b"data: %b\n\n" % msgspec.json.encode(chunk)
        return progress_comment(note)

    def error(self, failure: Failure) -> bytes:
        return msgspec.json.encode(failure.body())

    def error_event(self, failure: Failure) -> bytes:
        return sse("error", failure.body())


OPENAI = OpenAISurface()


def progress_comment(note: str) -> bytes:
    """An SSE comment, which every client skips; one line, whatever the note holds."""
    return b": %b\n\n" % " ".join(note.split()).encode()


def _chunk(query: Query, model: str, choice: dict[str, Any]) -> dict[str, Any]:
    """One of OpenAI's chunks, with the request's id."""
    return {
        "id": query.id,
        "object": "chat.completion.chunk" if query.kind == "chat" else "text_completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, **choice, "finish_reason": None}],
    }


def sse(event: str, data: Any) -> bytes:
    """One SSE event with JSON data."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), msgspec.json.encode(data))


def with_member(body: bytes, name: str, value: Any) -> bytes:
    """The JSON object `body` with one more member at its end; every other byte stays what it was."""
    head = body.rstrip()[:-1].rstrip()
    comma = b"" if head.endswith(b"{") else b","
    return b"%b%b%b:%b}" % (head, comma, msgspec.json.encode(name), msgspec.json.encode(value))


def summary(decision: Decision) -> dict[str, Any]:
    """What the response headers say, for a stream that sent its headers before there was a decision."""
    return {
        "decision_id": decision.id,
        "expert": decision.expert,
        "policy": decision.policy,
        "overhead_ms": round(decision.overhead_ms, 3),
        "wait_ms": round(decision.wait_ms, 3),
    }


def explanation(decision: Decision) -> dict[str, Any]:
    """Scores and reasons: why this expert, and why not the others."""
    return summary(decision) | {
        "mode": decision.mode,
        "router": decision.router,
        "artifact": decision.artifact,
        "scores": decision.scores,
        "utilities": decision.utilities,
        "plan": decision.plan,
        "regret": decision.regret,
        "saved_s": decision.saved_s,
        "infeasible": decision.infeasible,
        "reason": decision.reason,
        "propensity": decision.propensity,
        "waits_s": decision.waits_s,
        "imposed_s": decision.imposed_s,
        "attempts": decision.attempts,
        "cost_usd": decision.cost_usd,
        "confidence": decision.confidence,
        "assessments": decision.assessments,
        "transcript": decision.transcript,
        "details": decision.details,
    }
