"""Answers of a chat expert, cut into stream chunks in every way that servers cut them.

@given(answers(), st.data())
def test_something(answer, data):
    chunks = data.draw(streams_of(answer))
"""

import json
from typing import Any

import msgspec
from hypothesis import strategies as st

from orchestrator.gateway.completion import Completion

TEXT = st.text(min_size=1, max_size=40)
ARGUMENTS = st.dictionaries(
    st.text(max_size=8), st.text(max_size=8) | st.integers() | st.lists(st.booleans()), max_size=3
)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """A whole `message`: any of reasoning, content and tool calls."""
    message: dict[str, Any] = {"role": "assistant", "content": draw(st.none() | TEXT)}
    if reasoning := draw(st.none() | TEXT):
        message["reasoning_content"] = reasoning
    calls = draw(st.lists(ARGUMENTS, max_size=3))
    if calls:
        message["tool_calls"] = [
            {
                "id": f"call_{i}",
                "type": "function",
                "function": {"name": f"tool_{i}", "arguments": json.dumps(arguments)},
            }
            for i, arguments in enumerate(calls)
        ]
    return message


@st.composite
def streams_of(draw: st.DrawFn, message: dict[str, Any]) -> list[Completion]:
    """The message as `chat.completion.chunk`s: reasoning, text, then the calls, begun in order, their pieces interleaved."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": piece} for piece in draw(_pieces(message.get("reasoning_content", "")))]
    deltas += [{"content": piece} for piece in draw(_pieces(message["content"] or ""))]
    calls = [draw(_call_deltas(i, call)) for i, call in enumerate(message.get("tool_calls", ()))]
    while unfinished := [call for call in calls if call]:
        begun = [call for call in unfinished if "id" not in call[0]]
        turn = draw(st.sampled_from([*begun, *unfinished[len(begun) : len(begun) + 1]]))
        deltas.append({"tool_calls": [turn.pop(0)]})
    reason = "tool_calls" if "tool_calls" in message else "stop"
    choices = [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas]
    choices += [[{"index": 0, "delta": {}, "finish_reason": reason}], []]
    return [chunk(choices=choice) for choice in choices[:-1]] + [chunk(choices=[], usage=USAGE)]


def chunk(**fields: Any) -> Completion:
    return msgspec.convert({"id": "c1", "object": "chat.completion.chunk", "model": "expert", **fields}, Completion)


def piece(delta: dict[str, Any], finish_reason: str | None = None) -> Completion:
    return chunk(choices=[{"index": 0, "delta": delta, "finish_reason": finish_reason}])


USAGE = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29, "prompt_tokens_details": {"cached_tokens": 5}}


def completion_of(message: dict[str, Any], **choice: Any) -> Completion:
    """The message as a whole `chat.completion`."""
    reason = "tool_calls" if "tool_calls" in message else "stop"
    choices = [{"index": 0, "message": message, "finish_reason": reason, **choice}]
    return chunk(object="chat.completion", choices=choices, usage=USAGE)


@st.composite
def _pieces(draw: st.DrawFn, text: str) -> list[str]:
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@st.composite
def _call_deltas(draw: st.DrawFn, index: int, call: dict[str, Any]) -> list[dict[str, Any]]:
    head = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
    pieces = draw(_pieces(call["function"]["arguments"]))
    return [head, *({"index": index, "function": {"arguments": piece}} for piece in pieces)]
