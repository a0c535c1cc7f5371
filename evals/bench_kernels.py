"""Every kernel beside its reference on the inputs that its tests compare them on: `python -m evals.bench kernels`.

    for row in bench_kernels():
        row.kernel, row.speedup            # 'mean_pool', 37.0

A kernel that isn't clearly faster than its reference is deleted.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels import reference
from kernels.gating import expert_choice, gate
from kernels.logit_fusion import contrast, mixture, steer
from kernels.ngrams import ngrams
from kernels.pooling import mean_pool
from routers.parts.memory import Memory, remember, top_k

PoolingInput = tuple[NDArray[np.float32], NDArray[np.int64]]
GateInput = tuple[NDArray[np.float32], float, int | None, float, float | None]
ChoiceInput = tuple[NDArray[np.float32], NDArray[np.intp], int, int]

FusionInput = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KernelRow:
    """Microseconds are the best of several repeats."""

    kernel: str
    input: str
    kernel_us: float
    reference_us: float
    speedup: float


def pooling_inputs() -> dict[str, PoolingInput]:
    """One short text, a batch of short ones, and a batch of long ones, as MiniLM gives them (384 dimensions)."""
    rng = np.random.default_rng(0)
    shapes = {"1 x 9 tokens": (1, 9), "8 x 12 tokens": (8, 12), "32 x 128 tokens": (32, 128)}
    return {name: _pooling_input(rng, *shape) for name, shape in shapes.items()}


def ngram_inputs() -> dict[str, tuple[Sequence[str], int]]:
    """One short text, a batch of them, and a long one, with the dimensions of the default encoder."""
    texts = [f"What is {i} times {i * i}? Naïve ĉar «{i % 7}»" for i in range(32)]
    return {
        "1 text": (texts[:1], 4096),
        "32 texts": (texts, 4096),
        "4,000 characters": ((" ".join(texts * 4)[:4000],), 4096),
    }


def gate_inputs() -> dict[str, GateInput]:
    """Batches of ten experts' scores, by each rule and by all at once."""
    scores = np.random.default_rng(0).random((256, 10), dtype=np.float32)
    return {
        "256 x 10, top-k": (scores, 0.1, 2, 1.0, None),
        "256 x 10, top-p": (scores, 0.1, None, 0.8, None),
        "256 x 10, null": (scores, 0.1, None, 1.0, 0.5),
        "32 x 10, all": (scores[:32], 0.1, 3, 0.8, 0.5),
    }


def choice_inputs() -> dict[str, ChoiceInput]:
    """As many places as queries; and twice as many, of which a query takes one to three."""
    scores = np.random.default_rng(0).random((1_000, 10), dtype=np.float32)
    return {
        "1,000 x 10, 1 each": (scores, np.full(10, 100, dtype=np.intp), 1, 1),
        "1,000 x 10, 1 to 3 each": (scores, np.full(10, 200, dtype=np.intp), 3, 1),
    }


def fusion_inputs() -> dict[str, FusionInput]:
    """Next-token distributions `(batch, models, tokens)`: one step of decoding over the likeliest tokens, and a text."""
    rng = np.random.default_rng(0)
    found = {}
    for name, shape in {"1 x 3 x 1,500": (1, 3, 1_500), "8 x 3 x 1,500": (8, 3, 1_500)}.items():
        shared, own = rng.normal(size=(shape[0], 1, shape[2])), rng.normal(size=shape)
        logits = 3.0 * shared + own
        found[name] = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    return found


def search_input() -> tuple[Memory, NDArray[np.float32]]:
    """A memory beyond what is searched exactly, of vectors that lie in heaps as texts' do, and a query."""
    rng = np.random.default_rng(0)
    heaps = rng.standard_normal((300, 384), dtype=np.float32)
    vectors = heaps[rng.integers(0, 300, 60_000)]
    vectors += np.float32(0.5) * rng.standard_normal(vectors.shape, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return remember(vectors[1:])[0], vectors[:1]


def bench_kernels() -> Iterator[KernelRow]:
    for name, arguments in pooling_inputs().items():
        yield _row(name, mean_pool, reference.mean_pool, arguments)
    for name, texts in ngram_inputs().items():
        yield _row(name, ngrams, reference.ngrams, texts)
    for name, gated in gate_inputs().items():
        yield _row(name, gate, reference.gate, gated)
    for name, chosen in choice_inputs().items():
        yield _row(name, expert_choice, reference.expert_choice, chosen)
    for name, logprobs in fusion_inputs().items():
        large, base, tuned = logprobs[:, 0], logprobs[:, 1], logprobs[:, 2:]
        yield _row(name, mixture, reference.mixture, (logprobs, np.full(logprobs.shape[:2], 1 / 3)))
        yield _row(name, steer, reference.steer, (large, base, tuned))
        yield _row(name, contrast, reference.contrast, (large, base, 0.5, 0.1))
    memory, query = search_input()
    yield _row("1 in 60,000", memory.nearest, lambda queries, k: top_k(queries, memory.vectors, k), (query, 100))


def _pooling_input(rng: np.random.Generator, texts: int, tokens: int) -> PoolingInput:
    hidden = rng.normal(size=(texts, tokens, 384)).astype(np.float32)
    lengths = rng.integers(1, tokens + 1, size=(texts, 1))
    return hidden, (np.arange(tokens)[None] < lengths).astype(np.int64)


def _row(name: str, kernel: Callable[..., Any], plain: Callable[..., Any], arguments: tuple[Any, ...]) -> KernelRow:
    kernel_us = _microseconds(partial(kernel, *arguments))
    reference_us = _microseconds(partial(plain, *arguments))
    return KernelRow(kernel.__name__, name, kernel_us, reference_us, reference_us / kernel_us)


def _microseconds(call: Callable[[], Any]) -> float:
    """Of one call: the best of five repeats of at least 20 ms each."""
    timer = timeit.Timer(call)
    number = max(1, int(0.02 / max(timer.timeit(1), 1e-7)))
    return min(timer.repeat(repeat=5, number=number)) / number * 1e6
