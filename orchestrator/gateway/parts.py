"""An answer of chat completions as a row of parts: reasoning, text, refusal, tool calls, one open at a time.

    parts = Parts()
    for chunk in chunks:
        for event in parts.feed(chunk.choice.said): ...   # started, grew, ended
    for event in parts.close(): ...

Chat completions may send the pieces of several tool calls interleaved; the Responses and Messages dialects want one after the
other. So a part that begins while a tool call is open waits until that call's arguments are whole JSON, or the stream ends.
Not here: what a part looks like in either dialect (`responses_answer.py`, `messages_answer.py`).
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from orchestrator.gateway.completion import Said, ToolCall

PartKind = Literal["reasoning", "text", "refusal", "tool"]


@dataclass(slots=True)
class Part:
    """A piece of an answer. text: what it says so far; of a tool call its arguments, as JSON. id, name: of a tool call."""

    kind: PartKind
    index: int
    text: str = ""
    id: str = ""
    name: str = ""
    started: bool = False
    unsent: str = ""

    def add(self, text: str) -> None:
        self.text += text
        self.unsent += text

    @property
    def may_end(self) -> bool:
        """Whether nothing more belongs to it, once another part has begun."""
        return self.kind != "tool" or _is_object(self.text)


class PartEvent(NamedTuple):
    """Something happened to a part. `delta` is what it grew by."""

    verb: Literal["started", "grew", "ended"]
    part: Part
    delta: str = ""


class Parts:
    """The state machine. Every part is started, grows any number of times, and is ended, before the next is started."""

    def __init__(self) -> None:
        self._waiting: deque[Part] = deque()
        self._calls: dict[int, Part] = {}
        self._count = 0
        self._last: Part | None = None

    def feed(self, said: Said) -> Iterator[PartEvent]:
        """Take what a chunk adds, or a whole message. What arrives for a call whose JSON was already whole is ignored."""
        self._add("reasoning", said.reasoning_content or said.reasoning)
        self._add("text", said.content)
        self._add("refusal", said.refusal)
        for position, call in enumerate(said.tool_calls or ()):
            self._add_call(call, position)
        yield from self._drain(final=False)

    def close(self) -> Iterator[PartEvent]:
        """End whatever is open."""
        yield from self._drain(final=True)

    def _new(self, kind: PartKind) -> Part:
        part = Part(kind, self._count)
        self._count += 1
        self._waiting.append(part)
        self._last = part
        return part

    def _add(self, kind: PartKind, text: str | None) -> None:
        if text:
            part = self._last if self._last is not None and self._last.kind == kind else self._new(kind)
            part.add(text)

    def _add_call(self, call: ToolCall, position: int) -> None:
        """Calls are told apart by `index`, and by `id` where a server numbers them all 0."""
        index = position if call.index is None else call.index
        part = self._calls.get(index)
        if part is None or (call.id and part.id and call.id != part.id):
            part = self._calls[index] = self._new("tool")
        part.id = part.id or call.id or ""
        part.name = part.name or call.function.name or ""
        part.add(call.function.arguments or "")

    def _drain(self, *, final: bool) -> Iterator[PartEvent]:
        while self._waiting:
            part = self._waiting[0]
            if part.kind == "tool" and not part.name and not final:
                return
            if not part.started:
                part.started = True
                part.id = part.id or f"call_{uuid.uuid4().hex}"
                yield PartEvent("started", part)
            if part.unsent:
                delta, part.unsent = part.unsent, ""
                yield PartEvent("grew", part, delta)
            if not final and not (len(self._waiting) > 1 and part.may_end):
                return
            self._waiting.popleft()
            yield PartEvent("ended", part)


def parts_of(said: Said) -> list[Part]:
    """The parts of a whole message."""
    parts = Parts()
    events = [*parts.feed(said), *parts.close()]
    return [event.part for event in events if event.verb == "ended"]


def _is_object(text: str) -> bool:
    """Whether the text is one whole JSON object."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except msgspec.DecodeError:
        return False
