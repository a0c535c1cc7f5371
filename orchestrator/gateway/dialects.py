"""`/v1/responses`, `/v1/messages` and `/v1/messages/count_tokens`: two dialects in front of the one inference path.

    await responses(request)      # body -> chat body -> infer(...) -> the answer back in the dialect, whole or as a stream

A surface is made per request, because the shape of an answer depends on what was asked. A stream says who answers (when headers
can't, or `explain` is on) in a `switchyard` member of its first object, since these dialects' clients know no events but their
own. Not here: what is translated into what (`responses_request.py`, `responses_answer.py`, `messages_request.py`,
`messages_answer.py`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from orchestrator.errors import AllExpertsFailed
from orchestrator.gateway import messages_request, responses_request
from orchestrator.gateway.completion import Completion, read_completion
from orchestrator.gateway.errors import Failure
from orchestrator.gateway.http import Request
from orchestrator.gateway.inference import infer
from orchestrator.gateway.messages_answer import MessageEvents, error_body, message
from orchestrator.gateway.requests import query_of
from orchestrator.gateway.responses_answer import ResponseEvents, response
from orchestrator.gateway.responses_request import ResponsesRequest
from orchestrator.gateway.surface import OPENAI, EventStream, explanation, progress_comment, sse, summary
from orchestrator.types import Decision, Query


async def responses(request: Request) -> None:
    """POST /v1/responses."""
    body = await request.json()
    parsed = responses_request.parse(body)
    await infer(request, "chat", responses_request.chat_body(parsed, body), ResponsesSurface(parsed))


async def messages(request: Request) -> None:
    """POST /v1/messages. Its route's surface is a `MessagesSurface()`."""
    body = await request.json()
    parsed = messages_request.parse(body)
    surface = MessagesSurface(parsed.stop_sequences, request)
    await infer(request, "chat", messages_request.chat_body(parsed, body), surface)


async def count_tokens(request: Request) -> None:
    """POST /v1/messages/count_tokens: an upper estimate, because whose tokenizer will count is decided per request."""
    body = {**await request.json(), "max_tokens": 1}
    query = query_of(request, "chat", messages_request.chat_body(messages_request.parse(body), body))
    await request.respond_json({"input_tokens": query.prompt_tokens})


class EventMachine(Protocol):
    """Chunks of chat completions in, events of a dialect out; each event's name is its `type`."""

    def feed(self, chunk: Completion) -> Iterator[dict[str, Any]]: ...

    def finish(self) -> Iterator[dict[str, Any]]: ...


class ResponsesSurface:
    """One response. Errors before it begins are OpenAI's own."""

    def __init__(self, request: ResponsesRequest) -> None:
        self._response = ResponseEvents(request)

    def body(self, query: Query, decision: Decision, body: bytes) -> bytes:
        if query.options.explain:
            self._response.notice = explanation(decision)
        return msgspec.json.encode(response(_whole(body), self._response))

    def events(self, query: Query, decision: Decision, events: EventStream) -> EventStream:
        return translated(events, self._response)

    def notice(self, query: Query, decision: Decision) -> bytes:
        self._response.notice = explanation(decision) if query.options.explain else summary(decision)
        return b""

    def progress(self, query: Query, note: str) -> bytes:
        return progress_comment(note)

    def error(self, failure: Failure) -> bytes:
        return OPENAI.error(failure)

    def error_event(self, failure: Failure) -> bytes:
        return _encode(self._response.fail(failure))


class MessagesSurface:
    """One message; or, made without a request, the errors of a route that was not reached."""

    def __init__(self, stop_sequences: Sequence[str] = (), request: Request | None = None) -> None:
        self._stop_sequences = stop_sequences
        self._request = request
        self._message = MessageEvents(stop_sequences)

    def body(self, query: Query, decision: Decision, body: bytes) -> bytes:
        answer = message(_whole(body), self._stop_sequences)
        if query.options.explain:
            answer["switchyard"] = explanation(decision)
        return msgspec.json.encode(answer)

    def events(self, query: Query, decision: Decision, events: EventStream) -> EventStream:
        return translated(events, self._message)

    def notice(self, query: Query, decision: Decision) -> bytes:
        self._message.notice = explanation(decision) if query.options.explain else summary(decision)
        return b""

    def progress(self, query: Query, note: str) -> bytes:
        return progress_comment(note)

    def error(self, failure: Failure) -> bytes:
        return msgspec.json.encode(self._error(failure))

    def error_event(self, failure: Failure) -> bytes:
        return sse("error", self._error(failure))

    def _error(self, failure: Failure) -> dict[str, Any]:
        return error_body(failure, self._request.decision_id if self._request else None)


async def translated(events: AsyncIterable[bytes], machine: EventMachine) -> AsyncGenerator[bytes, None]:
    """A stream of chat completion chunks as a stream of the machine's events, block by block."""
    async for block in events:
        if translation := b"".join(_encode(machine.feed(chunk)) for chunk in _chunks(block)):
            yield translation
    yield _encode(machine.finish())


def _whole(body: bytes) -> Completion:
    """A whole answer, which has a message."""
    completion = read_completion(body)
    if completion.choice.message is None:
        raise AllExpertsFailed("the expert's answer holds no message")
    return completion


def _chunks(block: bytes) -> Iterator[Completion]:
    """The chunks in a block of whole SSE events, whose data is one line each."""
    for line in block.split(b"\n"):
        if line.startswith(b"data:") and (data := line[5:].strip()) != b"[DONE]":
            yield read_completion(data)


def _encode(events: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(sse(event["type"], event) for event in events)
