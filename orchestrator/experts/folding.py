"""A stream of chat or completion chunks, folded into the body that the same request without `stream` would have had.

    streamed = await server.answer(call_with_stream, endpoint)
    answer = await fold(streamed, num_prompts=1)  # answer.body is '{"object": "chat.completion", "choices": [...], ...}'

For servers that only notice in a stream that nobody listens any more. Choices (`n`), tool calls, reasoning, logprobs and usage
are put together; fields that are not known here are joined when they are texts or lists and kept otherwise.
"""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.experts.sse import Framer, data_of
from orchestrator.types import Answer, Usage

_WHOLE = frozenset({"id", "type", "role", "name", "finish_reason", "stop_reason"})
"""Texts that a chunk repeats or replaces; every other text continues."""


async def fold(streamed: Answer, *, num_prompts: int) -> Answer:
    """The whole answer. num_prompts: how many the request held. Raises what the stream raises; when cancelled, closes it."""
    assert streamed.events is not None
    folder, framer = _Folder(), Framer()
    try:
        async for block in streamed.events:
            for event in framer.feed(block):
                if (data := data_of(event)) and data != b"[DONE]":
                    folder.add(msgspec.json.decode(data))
    finally:
        await streamed.aclose()
    usage = folder.usage(num_prompts)
    return Answer(body=msgspec.json.encode(folder.body(usage)), usage=usage)


class _Folder:
    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._usages: list[dict[str, Any]] = []

    def add(self, chunk: dict[str, Any]) -> None:
        for choice in chunk.pop("choices", None) or ():
            if "delta" in choice:
                choice["message"] = choice.pop("delta")
            _merge(self._choices.setdefault(choice["index"], {}), choice)
        if (usage := chunk.pop("usage", None)) is not None:
            self._usages.append(usage)
        self._head.update(chunk)

    def usage(self, num_prompts: int) -> Usage:
        """Servers report it once, or once per choice; then the prompt of `n` choices counts once."""
        prompt = sum(usage["prompt_tokens"] for usage in self._usages)
        if len(self._usages) > 1:
            prompt = prompt * num_prompts // len(self._usages)
        return Usage(prompt, sum(usage["completion_tokens"] for usage in self._usages))

    def body(self, usage: Usage) -> dict[str, Any]:
        choices = [self._choices[index] for index in sorted(self._choices)]
        for message in (choice["message"] for choice in choices if "message" in choice):
            message.setdefault("role", "assistant")
            for tool_call in message.get("tool_calls") or ():
                tool_call.pop("index", None)
        details = self._usages[-1] if self._usages else {}
        counts = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
        total = {**details, **counts, "total_tokens": usage.prompt_tokens + usage.completion_tokens}
        kind = self._head["object"].removesuffix(".chunk")
        return {**self._head, "object": kind, "choices": choices, "usage": total}


def _merge(into: dict[str, Any], piece: dict[str, Any]) -> None:
    """Continue what is there with the next piece of it; null says nothing."""
    for key, value in piece.items():
        known = into.get(key)
        if value is None:
            into.setdefault(key, None)
        elif isinstance(known, dict) and isinstance(value, dict):
            _merge(known, value)
        elif isinstance(value, list):
            into[key] = _merged_list(known or [], value)
        elif isinstance(known, str) and isinstance(value, str) and key not in _WHOLE:
            into[key] = known + value
        else:
            into[key] = value


def _merged_list(known: list[Any], pieces: list[Any]) -> list[Any]:
    """Tool calls say by `index` which one they continue; other lists (logprobs) just go on."""
    for piece in pieces:
        same = [
            item for item in known if isinstance(piece, dict) and "index" in piece and item["index"] == piece["index"]
        ]
        if same:
            _merge(same[0], piece)
        else:
            known.append(piece)
    return known
