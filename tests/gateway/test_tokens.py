"""The estimate is an upper one for what people and programs write, checked against a real tokenizer's counts."""

from __future__ import annotations

import time

import pytest

from orchestrator.gateway.tokens import IMAGE_TOKENS, estimate, estimate_attachments, estimate_json, estimate_longest
from orchestrator.gateway.validation import Part

# Texts, and what SmolLM2's tokenizer (49,000 entries, a token per digit) makes of them.
COUNTED = {
    "What is 17 * 23?": 11,
    "Please write a short story about a dog who goes to the market and meets an old friend there. " * 10: 201,
    "What is 17 * 23? Solve 3x^2 + 5x - 7 = 0 and give x to 4 decimals. " * 10: 341,
    "请用中文解释什么是机器学习，并给出三个例子。它和统计学有什么区别？" * 10: 550,
    "機械学習とは何ですか。例を三つ挙げて説明してください。カタカナとひらがなも。" * 10: 720,
    "기계 학습이 무엇인지 한국어로 설명하고 예를 세 가지 들어 주세요." * 10: 780,
    "Объясните, что такое машинное обучение, и приведите три примера." * 10: 500,
    "Erkläre bitte ausführlich, was maschinelles Lernen ist, und nenne drei Beispiele aus der "
    "Geschwindigkeitsüberwachung. " * 10: 461,
    "THIS IS AN ALL CAPS SENTENCE ABOUT ROUTING LANGUAGE MODELS. " * 20: 422,
    "def f(x: int) -> dict[str, int]:\n    return {'a': x * 2, \"b\": x // 3}\n" * 10: 0,
    "1234567890" * 100: 1000,
}
