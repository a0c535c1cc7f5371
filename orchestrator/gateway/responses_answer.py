"""An answer of chat completions as OpenAI's Responses API gives it: whole, or as a stream of events.

    response(completion, ResponseEvents(request))       # {"object": "response", "status": "completed", "output": [...], ...}
    events = ResponseEvents(request)
    for chunk in chunks:
        for event in events.feed(chunk): ...    # {"type": "response.output_text.delta", "sequence_number": 4, ...}
    for event in events.finish(): ...           # response.completed, or response.incomplete

Each part of the answer is an output item: a reasoning item, a message (text or refusal), a function call. Nothing is stored, so
`store` is false. Not here: requests (`responses_request.py`), SSE bytes, routes.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from orchestrator.gateway.completion import Completion, Usage
from orchestrator.gateway.errors import Failure
from orchestrator.gateway.parts import Part, PartEvent, Parts
from orchestrator.gateway.responses_request import ResponsesRequest

Event = dict[str, Any]
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
ERROR_CODES = {400: "invalid_prompt", 429: "rate_limit_exceeded"}
CONTENT = {"text": ("output_text", "text"), "refusal": ("refusal", "refusal"), "reasoning": ("reasoning_text", "text")}
"""Of each kind of part: the type of its content, which its events are named for, and the field that holds what it says."""


def response(completion: Completion, events: ResponseEvents) -> dict[str, Any]:
    """The response that a whole chat completion stands for: what its stream, all in one chunk, would end with."""
    *_, last = [*events.feed(completion), *events.finish()]
    answer: dict[str, Any] = last["response"]
    return answer


class ResponseEvents:
    """The stream of one response. Items come one after the other; `response.created` comes with the first chunk, or a failure.

    notice: what the response's `switchyard` member says, if anything.
    """

    def __init__(self, request: ResponsesRequest) -> None:
        self.notice: Mapping[str, Any] | None = None
        self._request = request
        self._id = uuid.uuid4().hex
        self._created_at = int(time.time())
        self._model = request.model
        self._parts = Parts()
        self._output: list[dict[str, Any]] = []
        self._usage: Usage | None = None
        self._finish_reason = ""
        self._sent = 0

    def feed(self, chunk: Completion) -> Iterator[Event]:
        self._model = chunk.model or self._model
        self._usage = chunk.usage or self._usage
        yield from self._start()
        yield from self._items(self._parts.feed(chunk.choice.said))
        self._finish_reason = chunk.choice.finish_reason or self._finish_reason

    def finish(self) -> Iterator[Event]:
        yield from self._start()
        yield from self._items(self._parts.close())
        yield self._event(f"response.{self._status}", response=self._response(self._status))

    def fail(self, failure: Failure) -> Iterator[Event]:
        yield from self._start()
        error = {"code": ERROR_CODES.get(failure.status, "server_error"), "message": failure.message}
        yield self._event("response.failed", response=self._response("failed") | {"error": error})

    @property
    def _status(self) -> str:
        """How it ends, by why the expert stopped."""
        return "incomplete" if self._finish_reason in INCOMPLETE else "completed"

    def _event(self, type: str, **fields: Any) -> Event:
        event = {"type": type, "sequence_number": self._sent, **fields}
        self._sent += 1
        return event

    def _start(self) -> Iterator[Event]:
        if not self._sent:
            yield self._event("response.created", response=self._response("in_progress"))
            yield self._event("response.in_progress", response=self._response("in_progress"))

    def _items(self, events: Iterable[PartEvent]) -> Iterator[Event]:
        for verb, part, delta in events:
            if verb == "started":
                yield from self._item_started(part)
            elif verb == "grew":
                yield self._event(
                    f"response.{_stream_name(part)}.delta", **self._place(part), **_logprobs(part), delta=delta
                )
            else:
                yield from self._item_ended(part)

    def _item_started(self, part: Part) -> Iterator[Event]:
        item = self._item(part, "in_progress")
        yield self._event("response.output_item.added", output_index=part.index, item=item)
        if part.kind != "tool":
            yield self._event("response.content_part.added", **self._place(part), part=_content(part, ""))

    def _item_ended(self, part: Part) -> Iterator[Event]:
        place, done = self._place(part), f"response.{_stream_name(part)}.done"
        if part.kind == "tool":
            yield self._event(done, **place, arguments=part.text, name=part.name)
        else:
            _, key = CONTENT[part.kind]
            yield self._event(done, **place, **_logprobs(part), **{key: part.text})
            yield self._event("response.content_part.done", **place, part=_content(part, part.text))
        item = self._item(part, self._status)
        self._output.append(item)
        yield self._event("response.output_item.done", output_index=part.index, item=item)

    def _place(self, part: Part) -> dict[str, Any]:
        """Where an event of a part belongs."""
        place = {"item_id": self._item_id(part), "output_index": part.index}
        return place if part.kind == "tool" else place | {"content_index": 0}

    def _item_id(self, part: Part) -> str:
        prefix = {"reasoning": "rs", "tool": "fc"}.get(part.kind, "msg")
        return f"{prefix}_{self._id}{part.index}"

    def _item(self, part: Part, status: str) -> dict[str, Any]:
        """The output item of a part, empty while it is in progress."""
        begun = status == "in_progress"
        item: dict[str, Any] = {"id": self._item_id(part), "status": status}
        if part.kind == "tool":
            arguments = "" if begun else part.text
            return item | {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": arguments}
        content = [] if begun else [_content(part, part.text)]
        if part.kind == "reasoning":
            return item | {"type": "reasoning", "summary": [], "content": content}
        return item | {"type": "message", "role": "assistant", "content": content}

    def _response(self, status: str) -> dict[str, Any]:
        """The response object as it stands."""
        incomplete = status == "incomplete"
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created_at,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": INCOMPLETE[self._finish_reason]} if incomplete else None,
            "model": self._model,
            "output": list(self._output),
            "usage": _usage(self._usage),
            **_echo(self._request),
        } | ({"switchyard": self.notice} if self.notice else {})


def _stream_name(part: Part) -> str:
    return "function_call_arguments" if part.kind == "tool" else CONTENT[part.kind][0]


def _content(part: Part, text: str) -> dict[str, Any]:
    type, key = CONTENT[part.kind]
    return {"type": type, key: text} | ({"annotations": []} if part.kind == "text" else {}) | _logprobs(part)


def _logprobs(part: Part) -> dict[str, Any]:
    """Text always has a list of them, here empty."""
    return {"logprobs": []} if part.kind == "text" else {}


def _usage(counted: Usage | None) -> dict[str, Any] | None:
    """None where the expert counted nothing."""
    if counted is None:
        return None
    return {
        "input_tokens": counted.prompt_tokens,
        "input_tokens_details": {"cached_tokens": counted.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": counted.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": counted.reasoning_tokens},
        "total_tokens": counted.prompt_tokens + counted.completion_tokens,
    }


def _echo(request: ResponsesRequest) -> dict[str, Any]:
    """What a response repeats of its request."""
    format = request.text.format
    tools = [
        {"name": tool.name, "parameters": tool.parameters, "strict": tool.strict, **_given(tool)}
        for tool in request.tools
    ]
    return {
        "background": False,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "metadata": request.metadata,
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": request.reasoning.effort, "summary": None},
        "store": False,
        "temperature": request.temperature,
        "text": {"format": {"type": "text"} if format is None else _given(format)},
        "tool_choice": request.tool_choice or "auto",
        "tools": tools,
        "top_p": request.top_p,
        "truncation": "disabled",
        "user": request.user,
    }


def _given(struct: msgspec.Struct) -> dict[str, Any]:
    return {key: value for key, value in msgspec.to_builtins(struct).items() if value is not None}
