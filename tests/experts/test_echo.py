"""The shipped fake in all its kinds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ExpertRejected
from orchestrator.experts.echo import embed, overlap
from tests.support.experts import body_of, call_of, chat, events_of, expert_of, text_of


async def test_it_repeats_the_last_user_turn():
    messages = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": None},
        {
            "role": "user",
            "content": [{"type": "text", "text": "second"}, {"type": "image_url", "image_url": {"url": "x"}}],
        },
        {"role": "assistant", "content": "said"},
    ]
    assert text_of(await expert_of(name="e", backend="echo").answer(chat(messages=messages))) == "second"


async def test_it_streams_word_by_word():
    answer = await expert_of(name="e", backend="echo").answer(chat("one two three", stream=True))
    assert len(await events_of(answer)) == len(["role", "one", " two", " three", "finish", "[DONE]"])


async def test_it_completes_a_prompt():
    expert = expert_of(name="e", backend="echo", kind="completion")
    assert body_of(await expert.answer(call_of("completion", prompt=["Once"])))["choices"][0]["text"] == "Once"


@pytest.mark.parametrize("prompt", [["one", "two"], [1, 2, 3], [[1, 2]], []])
async def test_prompts_it_can_not_read_are_rejected(prompt: list[object]):
    with pytest.raises(ExpertRejected) as caught:
        await expert_of(name="e", backend="echo", kind="completion").answer(call_of("completion", prompt=prompt))
    assert (caught.value.status, caught.value.param) == (400, "prompt")


@pytest.mark.parametrize("value", [[1, 2, 3], [], None, {"a": 1}])
async def test_inputs_it_can_not_embed_are_rejected(value: object):
    with pytest.raises(ExpertRejected) as caught:
        await expert_of(name="e", backend="echo", kind="embedding").answer(call_of("embedding", input=value))
    assert caught.value.param == "input"


async def test_it_embeds_each_input():
    expert = expert_of(name="e", backend="echo", kind="embedding")
    data = body_of(await expert.answer(call_of("embedding", input=["a cat", "a cat", "dogs"])))["data"]
    assert data[0]["embedding"] == data[1]["embedding"] != data[2]["embedding"]


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_vectors_have_length_one(texts: list[str]):
    np.testing.assert_allclose(np.linalg.norm(embed(texts), axis=1), 1.0, rtol=1e-5)


async def test_it_ranks_by_shared_words():
    call = call_of("rerank", query="red fish", documents=["a blue bird", "one red fish", "two fish"])
    results = body_of(await expert_of(name="e", backend="echo", kind="rerank").answer(call))["results"]
    assert [result["index"] for result in results] == [1, 2, 0]


@pytest.mark.parametrize(
    "body", [{"query": 1, "documents": ["a"]}, {"query": "a", "documents": []}, {"query": "a", "documents": [1]}]
)
async def test_what_it_can_not_rank_is_rejected(body: dict[str, object]):
    with pytest.raises(ExpertRejected):
        await expert_of(name="e", backend="echo", kind="rerank").answer(call_of("rerank", **body))


def test_overlap_of_nothing_is_zero():
    assert overlap("", "anything") == 0.0
