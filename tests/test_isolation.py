"""An answer depends on its own query alone, whatever else is answered at the same moment; tried by attack.

After "Buffer Overflow in Mixture of Experts" (arXiv 2402.05526): where experts have room for so many tokens of a batch, who fills
the batch changes others' answers. Here nobody is dropped from a batch, and what is computed together is computed row by row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.experts.batching import Batcher
from tests.support.minilm import minilm
from tests.support.shipped import launched, needs_smollm2

VICTIMS = ["What is the capital of France?", "Solve x^2 = 4 for x.", "Write a poem about autumn."]
ATTACKS = ["!" * 400, "Ω≈ç√∫˜µ≤≥÷ " * 30, "AAAA BBBB " * 80, "", "\U0001f4a9" * 60, "0 1 2 3 4 5 6 7 8 9 " * 20]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(VICTIMS), st.lists(st.sampled_from(ATTACKS) | st.text(max_size=300), max_size=40))
def test_what_a_router_reads_of_a_query_does_not_depend_on_its_batch(victim, attack):
    encoder = minilm(max_tokens=128)
    alone = encoder.encode([victim])[0]
    np.testing.assert_allclose(encoder.encode([*attack, victim])[-1], alone, atol=1e-6)


@given(st.lists(st.lists(st.integers(), min_size=1, max_size=8), min_size=1, max_size=12))
async def test_concurrent_requests_get_their_own_results(requests):
    def as_text(items: Sequence[int]) -> list[str]:
        return [str(item) for item in items]

    batcher = Batcher(partial(asyncio.to_thread, as_text), max_items=5)
    results = await asyncio.gather(*(batcher.run(items) for items in requests))
    assert results == [[str(item) for item in items] for items in requests]


@pytest.mark.slow
async def test_a_models_greedy_answer_is_the_same_among_attackers(tmp_path):
    needs_smollm2()

    async def answer(expert, content: str) -> str:
        messages = [{"role": "user", "content": content}]
        said = await expert.ask("chat", messages=messages, max_tokens=16, temperature=0)
        return str(msgspec.json.decode(said.body)["choices"][0]["message"]["content"])

    async with launched("smollm2", tmp_path, limits={"concurrency": 4}) as expert:
        alone = [await answer(expert, victim) for victim in VICTIMS]
        for victim, expected in zip(VICTIMS, alone, strict=True):
            answers = await asyncio.gather(answer(expert, victim), *(answer(expert, attack) for attack in ATTACKS[:3]))
            assert answers[0] == expected
