"""The plain version of every kernel, with the same signature: slow, obvious, and what the tests compare with.

    from kernels import pooling, reference
    np.testing.assert_allclose(pooling.mean_pool(hidden, mask), reference.mean_pool(hidden, mask), atol=1e-6)

Nothing outside tests and benchmarks calls these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kernels.logit_fusion import AT_MOST
from kernels.ngrams import BASE, MIX, WIDTHS, WORD, normalised

_Floats = NDArray[np.float32]


def mean_pool(hidden: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """See `kernels.pooling.mean_pool`."""
    out = np.zeros((hidden.shape[0], hidden.shape[2]), dtype=np.float32)
    for i, tokens in enumerate(hidden):
        total = tokens[mask[i] > 0].sum(axis=0)
        length = np.linalg.norm(total)
        if length > 0:
            out[i] = total / length
    return out


def ngrams(texts: Sequence[str], dimensions: int) -> NDArray[np.float32]:
    """See `kernels.ngrams.ngrams`."""
    out = np.zeros((len(texts), dimensions), dtype=np.float32)
    for i, text in enumerate(texts):
        data = normalised(text)
        counts = [0] * dimensions
        for width in WIDTHS:
            for start in range(len(data) - width + 1):
                _count(data[start : start + width], 0, counts)
        for word in data.split(b" "):
            if word:
                _count(word, WORD, counts)
        length = math.sqrt(sum(count * count for count in counts))
        if length > 0:
            out[i] = np.array(counts) / length
    return out


def _count(span: bytes, salt: int, counts: list[int]) -> None:
    """Add the span's sign to its bucket."""
    value = 0
    for byte in reversed(span):
        value = (value * BASE + byte + 1) % 2**64
    value ^= salt
    value = (value ^ value >> 32) * MIX % 2**64
    counts[(value >> 33) % len(counts)] += -1 if value >> 32 & 1 else 1


def gate(
    scores: _Floats,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    null_score: float | None = None,
) -> _Floats:
    """See `kernels.gating.gate`."""
    out = np.zeros(scores.shape, dtype=np.float32)
    null = -math.inf if null_score is None else null_score
    for i, row in enumerate(scores.tolist()):
        peak = max([null, *row])
        shares = [math.exp((score - peak) / temperature) if score > -math.inf else 0.0 for score in row]
        total = sum(shares) + (math.exp((null - peak) / temperature) if null > -math.inf else 0.0)
        reached = 0.0
        for place, j in enumerate(sorted(range(len(row)), key=lambda j: -row[j])):
            if row[j] <= null or place == top_k or (top_p < 1.0 and reached >= top_p * total):
                break
            out[i, j] = shares[j]
            reached += shares[j]
        out[i] /= out[i].sum() or 1.0
    return out


def expert_choice(
    scores: _Floats, capacities: NDArray[np.intp], at_most: int = 1, at_least: int = 0
) -> NDArray[np.bool_]:
    """See `kernels.gating.expert_choice`."""
    chosen = np.zeros(scores.shape, dtype=np.bool_)
    for places in (at_least, at_most):
        for pair in np.argsort(-scores, axis=None, kind="stable"):
            i, j = divmod(int(pair), scores.shape[1])
            has_room = chosen[i].sum() < places and chosen[:, j].sum() < capacities[j]
            if has_room and not chosen[i, j] and scores[i, j] > -math.inf:
                chosen[i, j] = True
    return chosen


def mixture(logprobs: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """See `kernels.logit_fusion.mixture`."""
    return np.array(
        [
            [
                _log(sum(w * math.exp(lp) for w, lp in zip(shares, of_token, strict=True)))
                for of_token in rows.T.tolist()
            ]
            for rows, shares in zip(logprobs, weights.tolist(), strict=True)
        ]
    )


def steer(
    large: NDArray[np.float64], base: NDArray[np.float64], specialists: NDArray[np.float64], at_most: float = AT_MOST
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """See `kernels.logit_fusion.steer`; by bisection."""
    fused, weights = np.zeros(large.shape), np.zeros(specialists.shape[:2])
    for i, row in enumerate(large.tolist()):
        distances = [_divergence(tuned, base[i].tolist()) for tuned in specialists[i].tolist()]
        total = sum(distances) or 1.0
        shares = [distance / total for distance in distances]
        direction = (np.array(shares)[:, None] * (specialists[i] - base[i])).sum(axis=0).tolist()
        low, high = 0.0, at_most
        for _ in range(60):
            middle = (low + high) / 2
            far = _divergence(_moved(row, direction, middle), row) > sum(distances) / len(distances)
            low, high = (low, middle) if far else (middle, high)
        fused[i], weights[i] = _moved(row, direction, high), high * np.array(shares)
    return fused, weights


def contrast(
    strong: NDArray[np.float64], weak: NDArray[np.float64], beta: float, alpha: float = 0.0
) -> NDArray[np.float64]:
    """See `kernels.logit_fusion.contrast`."""
    out = np.full(strong.shape, -math.inf)
    for i, row in enumerate(strong.tolist()):
        least = alpha * math.exp(max(row))
        kept = [j for j, logprob in enumerate(row) if math.exp(logprob) >= least * (1 - 1e-12)]
        scores = [(1 + beta) * row[j] - beta * float(weak[i, j]) for j in kept]
        out[i, kept] = _moved(scores, [0.0] * len(scores), 0.0)
    return out


def _log(value: float) -> float:
    return math.log(value) if value > 0.0 else -math.inf


def _divergence(p: Sequence[float], q: Sequence[float]) -> float:
    """Kullback and Leibler's, of log-probabilities."""
    return max(0.0, math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q, strict=True)))


def _moved(scores: Sequence[float], direction: Sequence[float], size: float) -> list[float]:
    """Log-probabilities in proportion to `exp(scores + size * direction)`."""
    moved = [score + size * step for score, step in zip(scores, direction, strict=True)]
    peak = max(moved)
    total = math.log(math.fsum(math.exp(score - peak) for score in moved))
    return [score - peak - total for score in moved]
