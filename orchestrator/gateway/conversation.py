"""Builds the `messages` of a chat completion from the turns of another dialect, and reads that dialect's typed bodies.

    chat = Conversation()
    chat.system("Be brief.")
    chat.user([text_part("What is this?"), image_part("https://example.com/cat.png")])
    chat.assistant("Let me look.", [tool_call("call_1", "look", "{}")])
    chat.tool("call_1", [text_part("a cat")])
    chat.messages()

What it mends: system turns at the start become one, for chat templates that allow one only; consecutive assistant turns become one,
so that a tool's result directly follows its call; images in a tool's result move to the next user turn, because a `tool` message
holds text. Content that is all text becomes one string. Not here: either dialect's own vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from orchestrator.errors import RequestError
from orchestrator.gateway.validation import validate

Part = dict[str, Any]


def text_part(text: str) -> Part:
    return {"type": "text", "text": text}


def image_part(url: str, detail: str | None = None) -> Part:
    return {"type": "image_url", "image_url": {"url": url} if detail is None else {"url": url, "detail": detail}}


def file_part(filename: str, data_url: str) -> Part:
    return {"type": "file", "file": {"filename": filename, "file_data": data_url}}


def tool_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


class Conversation:
    """Chat messages, built turn by turn."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._held: list[Part] = []

    def system(self, text: str) -> None:
        self._flush()
        last = self._messages[-1] if self._messages else None
        if len(self._messages) == 1 and last and last["role"] == "system":
            last["content"] = f"{last['content']}\n\n{text}"
        else:
            self._messages.append({"role": "system", "content": text})

    def user(self, parts: Iterable[Part]) -> None:
        parts, self._held = [*self._held, *parts], []
        if parts:
            self._messages.append({"role": "user", "content": _content(parts)})

    def assistant(self, text: str, calls: Iterable[dict[str, Any]] = ()) -> None:
        self._flush()
        if not self._messages or self._messages[-1]["role"] != "assistant":
            self._messages.append({"role": "assistant", "content": None})
        message = self._messages[-1]
        message["content"] = "\n\n".join(filter(None, (message["content"], text))) or None
        if calls := [*message.get("tool_calls", ()), *calls]:
            message["tool_calls"] = calls

    def tool(self, call_id: str, parts: Iterable[Part]) -> None:
        parts = list(parts)
        self._held += [part for part in parts if part["type"] != "text"]
        text = "\n\n".join(part["text"] for part in parts if part["type"] == "text")
        self._messages.append({"role": "tool", "tool_call_id": call_id, "content": text})

    def messages(self) -> list[dict[str, Any]]:
        """What was built. An assistant turn that said nothing keeps an empty string, which every server accepts."""
        self._flush()
        for message in self._messages:
            if message["content"] is None and "tool_calls" not in message:
                message["content"] = ""
        return self._messages

    def _flush(self) -> None:
        self.user(())


def _content(parts: list[Part]) -> str | list[Part]:
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return parts


class Body(msgspec.Struct, kw_only=True):
    """A request of another dialect. Null in an optional field is the same as no field, and the OpenAPI document says so."""


BodyT = TypeVar("BodyT", bound=Body)


def read(body: Mapping[str, Any], shape: type[BodyT]) -> BodyT:
    """The body as `shape`. Raises `RequestError` that names the field."""
    return validate(shape, {key: value for key, value in body.items() if value is not None})


def passed_through(body: Mapping[str, Any], shape: type[msgspec.Struct], ignored: frozenset[str]) -> dict[str, Any]:
    """The fields of a body that the dialect doesn't know: they go to the expert as they are."""
    known = {*shape.__struct_encode_fields__, *ignored}
    return {key: value for key, value in body.items() if key not in known}


def refuse(body: Mapping[str, Any], fields: Iterable[str], why: str) -> None:
    """Raise `RequestError` for the first of `fields` that is in use."""
    for field in fields:
        if body.get(field):
            raise RequestError(f"{field} is not supported: {why}", param=field, code="unsupported_parameter")
