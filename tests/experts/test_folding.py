from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ExpertError
from orchestrator.experts.folding import fold
from orchestrator.types import Answer
from tests.support.experts import body_of, call_of, expert_of


def streamed(*chunks: dict[str, Any], failure: Exception | None = None) -> Answer:
    async def events() -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield b"data: " + msgspec.json.encode({"object": "chat.completion.chunk", **chunk}) + b"\n\n"
        if failure is not None:
            raise failure
        yield b": keep-alive\n\ndata: [DONE]\n\n"

    return Answer(events=events())


def chunk(index: int = 0, finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


async def choices_of(*chunks: dict[str, Any]) -> Any:
    return body_of(await fold(streamed(*chunks), num_prompts=1))["choices"]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("chat", {"messages": [{"role": "user", "content": "one two three"}], "n": 2}),
        ("completion", {"prompt": "one two three", "max_tokens": 2}),
    ],
)
async def test_a_folded_stream_is_what_the_request_without_a_stream_would_have_had(kind, fields) -> None:
    echo = expert_of(name="echo", backend="echo")
    whole = await echo.answer(call_of(kind, **fields))
    stream = await echo.answer(call_of(kind, **fields, stream=True, stream_options={"include_usage": True}))
    folded = await fold(stream, num_prompts=1)
    expected, got = body_of(whole), body_of(folded)
    for body in (expected, got):
        del body["id"], body["created"]
        for choice in body["choices"]:
            choice.get("message", {}).pop("refusal", None)
    assert got == expected
    assert folded.usage == whole.usage


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.text()), min_size=1))
async def test_interleaved_choices_come_out_whole(pieces: list[tuple[int, str]]) -> None:
    choices = await choices_of(*(chunk(index, content=text) for index, text in pieces))
    said = {index: "".join(text for i, text in pieces if i == index) for index, _ in pieces}
    assert {choice["index"]: choice["message"]["content"] for choice in choices} == said


async def test_tool_calls_are_joined_by_their_index() -> None:
    def piece(index: int, arguments: str, **first: Any) -> dict[str, Any]:
        return chunk(tool_calls=[{"index": index, **first, "function": {"arguments": arguments, **first}}])

    (choice,) = await choices_of(
        chunk(role="assistant", content=None),
        piece(0, '{"a"', name="add"),
        piece(1, "{}", name="now"),
        piece(0, ": 1}"),
        chunk(finish_reason="tool_calls"),
    )
    calls = [call["function"] for call in choice["message"]["tool_calls"]]
    assert calls == [{"name": "add", "arguments": '{"a": 1}'}, {"name": "now", "arguments": "{}"}]
    assert choice["message"]["content"] is None
    assert choice["finish_reason"] == "tool_calls"
    assert not any("index" in call for call in choice["message"]["tool_calls"])


async def test_reasoning_and_logprobs_are_joined() -> None:
    def piece(text: str) -> dict[str, Any]:
        choice = {"index": 0, "delta": {"reasoning_content": text}, "logprobs": {"content": [{"token": text}]}}
        return {"choices": [choice]}

    (choice,) = await choices_of(piece("Let me"), piece(" see"))
    assert choice["message"] == {"role": "assistant", "reasoning_content": "Let me see"}
    assert choice["logprobs"] == {"content": [{"token": "Let me"}, {"token": " see"}]}


@pytest.mark.parametrize(("num_prompts", "prompt_tokens"), [(1, 5), (2, 10)])
async def test_usage_told_once_a_choice_is_added_up(num_prompts: int, prompt_tokens: int) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 3}
    stream = streamed({**chunk(0), "usage": usage}, {**chunk(1), "usage": usage})
    answer = await fold(stream, num_prompts=num_prompts)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (prompt_tokens, 6)
    assert body_of(answer)["usage"]["total_tokens"] == prompt_tokens + 6


async def test_a_stream_that_breaks_is_no_answer() -> None:
    broken = ExpertError("expert", "reset", "broke the connection")
    with pytest.raises(ExpertError) as caught:
        await fold(streamed(chunk(content="half an"), failure=broken), num_prompts=1)
    assert caught.value is broken
