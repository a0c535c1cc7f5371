"""The estimate is an upper one for what people and programs write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gateway.tokens import estimate_attachments, estimate_inputs, estimate_json
from orchestrator.gateway.validation import Part
from orchestrator.tokens import IMAGE_TOKENS, estimate

# What the greediest of SmolLM2's, cl100k's, Claude's and MiniLM's tokenizers makes of each text.
COUNTED = {
    "What is 17 * 23?": 10,
    "Please write a short story about a dog who goes to the market and meets an old friend there. " * 10: 202,
    "What is 17 * 23? Solve 3x^2 + 5x - 7 = 0 and give x to 4 decimals. " * 10: 341,
    "请用中文解释什么是机器学习，并给出三个例子。它和统计学有什么区别？" * 10: 550,
    "機械学習とは何ですか。例を三つ挙げて説明してください。カタカナとひらがなも。" * 10: 720,
    "기계 학습이 무엇인지 한국어로 설명하고 예를 세 가지 들어 주세요." * 10: 780,
    "Объясните, что такое машинное обучение, и приведите три примера." * 10: 562,
    "Erkläre bitte ausführlich, was maschinelles Lernen ist, und nenne drei Beispiele aus der "
    "Geschwindigkeitsüberwachung. " * 10: 461,
    "THIS IS AN ALL CAPS SENTENCE ABOUT ROUTING LANGUAGE MODELS. " * 20: 422,
    "def f(x: int) -> dict[str, int]:\n    return {'a': x * 2, \"b\": x // 3}\n" * 10: 372,
    "1234567890" * 100: 1000,
}


@pytest.mark.parametrize(("text", "tokens"), COUNTED.items(), ids=lambda value: str(value)[:12])
def test_the_estimate_is_an_upper_one_and_within_a_factor_of_two(text, tokens):
    assert tokens <= estimate(text) <= 2 * tokens


@given(st.text())
def test_no_byte_counts_more_than_a_token(text):
    assert 0 < estimate(text) <= len(text.encode()) + 2


def test_nothing_costs_nothing():
    assert (estimate_json(None), estimate_json([]), estimate_inputs([])) == (0, 0, [])


def test_inputs_are_texts_and_token_ids():
    assert estimate_inputs(["a", "several words"]) == [estimate("a"), estimate("several words")]
    assert estimate_inputs([1, 2, 3]) == [3]
    assert estimate_inputs([[1, 2, 3], [4]]) == [3, 1]


def test_attachments_cost_what_their_medium_does():
    image = Part("image_url", image_url={"url": "https://x.example/cat.png"})
    sound = Part("input_audio", input_audio={"data": "A" * 10_000, "format": "mp3"})
    assert estimate_attachments([image]) == IMAGE_TOKENS
    assert estimate_attachments([sound]) == 11
    assert estimate_attachments([image, sound]) == IMAGE_TOKENS + 11
