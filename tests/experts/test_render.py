"""Texts, vectors and scores as OpenAI's bodies and events, validated as OpenAI's own client carries them."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion

from orchestrator.errors import ExpertError, ExpertRejected
from orchestrator.experts.render import (
    Ending,
    count_words,
    embedding_answer,
    piecewise_answer,
    rerank_answer,
    text_answer,
)
from orchestrator.types import Usage
from tests.support.experts import body_of, call_of, chat, events_of, text_of

VECTORS = np.array([[0.6, 0.8], [1.0, 0.0]], dtype=np.float32)


def test_a_chat_answer_has_no_field_that_openai_does_not_know():
    completion = ChatCompletion.model_validate_json(text_answer(chat(), "e", "Hi.").body or b"", strict=True)
    parts = (completion, completion.choices[0], completion.choices[0].message, completion.usage)
    assert [part.model_extra for part in parts if part is not None] == [{}] * 4


def test_a_completion_has_openais_shape():
    answer = text_answer(call_of("completion", prompt="Say hi"), "e", "Hi.")
    completion = Completion.model_validate_json(answer.body or b"", strict=True)
    assert completion.choices[0].text == "Hi."
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 1)


async def test_a_streamed_completion_has_openais_shape():
    answer = text_answer(call_of("completion", prompt="Say hi", stream=True), "e", "Hi there.")
    *chunks, last, _done = await events_of(answer)
    # OpenAI sends null until the end, which its own schema does not allow.
    finished = [chunk.replace(b'"finish_reason":null', b'"finish_reason":"stop"') for chunk in chunks]
    texts = [Completion.model_validate_json(chunk, strict=True).choices[0].text for chunk in finished]
    assert finished != chunks
    assert "".join(texts) == "Hi there."
    assert Completion.model_validate_json(last, strict=True).choices[0].finish_reason == "stop"


@given(st.text(max_size=60), st.integers(1, 3))
async def test_a_stream_says_exactly_what_the_body_says(text: str, n: int):
    whole = body_of(text_answer(chat(n=n), "e", text))
    *chunks, _done = await events_of(text_answer(chat(n=n, stream=True), "e", text))
    said = [""] * n
    for chunk in chunks:
        for choice in msgspec.json.decode(chunk)["choices"]:
            said[choice["index"]] += choice["delta"].get("content", "")
    assert said == [choice["message"]["content"] for choice in whole["choices"]] == [text] * n


@pytest.mark.parametrize("limit", [{"max_tokens": 2}, {"max_completion_tokens": 2}])
async def test_max_tokens_cuts_after_words(limit: dict[str, int]):
    answer = text_answer(chat(**limit), "e", "one two three")
    assert text_of(answer) == "one two"
    assert body_of(answer)["choices"][0]["finish_reason"] == "length"
    assert answer.usage.completion_tokens == 2


def test_a_text_within_max_tokens_is_whole():
    answer = text_answer(chat(max_tokens=3), "e", "one two three")
    assert body_of(answer)["choices"][0]["finish_reason"] == "stop"


def test_what_can_not_be_encoded_becomes_a_question_mark():
    assert text_of(text_answer(chat(), "e", "half a \ud83d")) == "half a ?"


@pytest.mark.parametrize("stop", ["two", ["three", "", "two"]])
def test_stop_ends_the_text_before_it(stop: Any):
    answer = text_answer(chat(stop=stop), "e", "one two three")
    assert text_of(answer) == "one "
    assert body_of(answer)["choices"][0]["finish_reason"] == "stop"


def test_n_choices_are_counted_each():
    answer = text_answer(chat(n=3), "e", "one two")
    assert [choice["index"] for choice in body_of(answer)["choices"]] == [0, 1, 2]
    assert answer.usage.completion_tokens == 6


def test_too_many_choices_are_rejected():
    with pytest.raises(ExpertRejected, match="at most 128") as caught:
        text_answer(chat(n=10**9), "e", "Hi.")
    assert caught.value.param == "n"


def test_all_messages_count_as_prompt():
    messages = [{"role": "system", "content": "a b"}, {"role": "user", "content": [{"type": "text", "text": "c"}]}]
    assert text_answer(chat(messages=messages), "e", "d").usage.prompt_tokens == count_words("a b\nc")


def test_embeddings_have_openais_shape():
    answer = embedding_answer(call_of("embedding", input=["a", "b"]), "e", VECTORS, prompt_tokens=2)
    response = CreateEmbeddingResponse.model_validate_json(answer.body or b"", strict=True)
    np.testing.assert_allclose([item.embedding for item in response.data], VECTORS)
    assert [item.index for item in response.data] == [0, 1]
    assert response.usage.total_tokens == answer.usage.prompt_tokens == 2


def test_embeddings_as_base64():
    call = call_of("embedding", input="a", encoding_format="base64")
    encoded = body_of(embedding_answer(call, "e", VECTORS[:1], prompt_tokens=1))["data"][0]["embedding"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(encoded), dtype="<f4"), VECTORS[0])


def test_other_dimensions_than_the_models_are_rejected():
    with pytest.raises(ExpertRejected, match="2 dimensions") as caught:
        embedding_answer(call_of("embedding", input="a", dimensions=256), "e", VECTORS[:1], prompt_tokens=1)
    assert caught.value.param == "dimensions"


def test_rerank_puts_the_best_first():
    call = call_of("rerank", query="q", documents=["a", "b", "c"])
    body = body_of(rerank_answer(call, "e", [0.1, 0.9, 0.5], prompt_tokens=4))
    assert [(r["index"], r["relevance_score"]) for r in body["results"]] == [(1, 0.9), (2, 0.5), (0, 0.1)]
    assert (body["model"], body["usage"]["total_tokens"]) == ("e", 4)


def test_rerank_returns_the_top_and_the_documents_when_asked():
    call = call_of("rerank", query="q", documents=["a", {"text": "b"}], top_n=1, return_documents=True)
    body = body_of(rerank_answer(call, "e", [0.1, 0.9], prompt_tokens=4))
    assert body["results"] == [{"index": 1, "relevance_score": 0.9, "document": {"text": "b"}}]


async def pieces(ending: Ending, *texts: str, error: ExpertError | None = None) -> AsyncGenerator[str, None]:
    for text in texts:
        yield text
    if error is not None:
        raise error
    ending.usage.completion_tokens += len(texts)
    ending.finish_reason = "length"


async def test_pieces_become_a_whole_answer_that_says_how_it_ended():
    ending = Ending(Usage(7, 1))
    answer = await piecewise_answer(chat(), "e", pieces(ending, "Hi ", "you"), ending)
    assert text_of(answer) == "Hi you"
    assert body_of(answer)["choices"][0]["finish_reason"] == "length"
    assert body_of(answer)["usage"]["completion_tokens"] == answer.usage.completion_tokens == 3


async def test_pieces_are_streamed_as_they_come_and_usage_comes_last():
    ending = Ending(Usage(7, 1))
    call = chat(stream=True, stream_options={"include_usage": True})
    answer = await piecewise_answer(call, "e", pieces(ending, "Hi ", "you"), ending)
    *chunks, usage, done = [
        msgspec.json.decode(data) if data != b"[DONE]" else data for data in await events_of(answer)
    ]
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == ["Hi ", "you", None]
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert usage["usage"]["total_tokens"] == 7 + 3
    assert done == b"[DONE]"


async def test_what_fails_before_the_first_piece_is_raised_and_no_stream_begins():
    ending = Ending(Usage())
    with pytest.raises(ExpertError, match="gone"):
        await piecewise_answer(chat(stream=True), "e", pieces(ending, error=ExpertError("m", "reset", "gone")), ending)


async def test_a_stream_that_is_closed_unread_ends_who_makes_the_pieces():
    ended = []

    async def pieces() -> AsyncGenerator[str, None]:
        try:
            yield "Hi "
            yield "you"
        finally:
            ended.append(True)

    answer = await piecewise_answer(chat(stream=True), "e", pieces(), Ending(Usage()))
    assert answer.events is not None
    await answer.events.aclose()
    assert ended
