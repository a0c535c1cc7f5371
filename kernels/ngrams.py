"""Hashed character n-grams and words: texts to unit vectors with no model, in microseconds.

    ngrams(["What is 2 + 2?", "hello"], dimensions=4096)        # (2, 4096) float32, rows of length 1

Every span of 3 to 5 UTF-8 bytes and every word of the lower-cased text adds +1 or -1 (the sign is a hash bit too, so that
collisions cancel out on average) to one of `dimensions` buckets: feature hashing, Weinberger et al., arXiv 0902.2206. A span's
hash is a polynomial modulo 2^64, taken for all spans at once from one prefix sum, because its odd base can be divided by.
Plain version: `kernels.reference.ngrams`, with identical results. Not here: any weighting by rarity.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WIDTHS = (3, 4, 5)
BASE = 0x9E3779B97F4A7C15
INVERSE = pow(BASE, -1, 1 << 64)
MIX = 0xD6E8FEB86659FD93
WORD = 0xA0761D6478BD642F

_UInts = NDArray[np.uint64]


def normalised(text: str) -> bytes:
    """Lower case, single spaces, one space at both ends, as UTF-8 (what can't be encoded becomes `?`)."""
    return f" {' '.join(text.lower().split())} ".encode("utf-8", "replace")


def ngrams(texts: Sequence[str], dimensions: int) -> NDArray[np.float32]:
    """Shape `(len(texts), dimensions)`; rows of length 1, or of zeros for a text without a character."""
    encoded = [normalised(text) for text in texts]
    lengths = np.array([len(data) for data in encoded], dtype=np.intp)
    data = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    rows = np.repeat(np.arange(len(encoded)), lengths)
    prefix = np.concatenate(([np.uint64(0)], np.cumsum((data + np.uint64(1)) * _powers(BASE, len(data)))))
    inverse = _powers(INVERSE, len(data))
    buckets, signs = [], []
    for start, end, salt in _spans(data, rows):
        hashes = (prefix[end] - prefix[start]) * inverse[start] ^ np.uint64(salt)
        hashes = (hashes ^ hashes >> np.uint64(32)) * np.uint64(MIX)
        buckets.append(rows[start] * dimensions + (hashes >> np.uint64(33)).astype(np.int64) % dimensions)
        signs.append(1.0 - 2.0 * (hashes >> np.uint64(32) & np.uint64(1)).astype(np.float64))
    size = len(encoded) * dimensions
    counts = np.bincount(np.concatenate(buckets), np.concatenate(signs), minlength=size).reshape(-1, dimensions)
    norms = np.sqrt(np.einsum("nd,nd->n", counts, counts))
    norms[norms == 0.0] = 1.0
    unit: NDArray[np.float32] = (counts / norms[:, None]).astype(np.float32)
    return unit


def _spans(data: NDArray[np.uint8], rows: NDArray[np.intp]) -> list[tuple[NDArray[np.intp], NDArray[np.intp], int]]:
    """Starts, ends and salt of the spans of each width, then of the words; none crosses from one text into the next."""
    spans = []
    for width in WIDTHS:
        starts = np.flatnonzero(rows[: max(0, len(rows) - width + 1)] == rows[width - 1 :])
        spans.append((starts, starts + width, 0))
    spaces = np.flatnonzero(data == ord(" "))
    starts, ends = spaces[:-1] + 1, spaces[1:]
    spans.append((starts[starts < ends], ends[starts < ends], WORD))
    return spans


def _powers(base: int, count: int) -> _UInts:
    """`base ** 0 .. base ** (count - 1)` modulo 2^64."""
    factors = np.full(count, base, dtype=np.uint64)
    factors[:1] = 1
    powers: _UInts = np.multiply.accumulate(factors)
    return powers
