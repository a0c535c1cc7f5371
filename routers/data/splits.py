"""Splits that keep equal queries together, and queries of one set that stand in another.

    folds = fold_numbers(table, 5)                       # (n_queries,) of 0..4
    is_held_out("What is 17 * 23?", 0.2)                 # the same answer for this text in every file, on every machine
    leaked = find_duplicates(train.queries, test.queries)
    test.rows(~leaked.any)                               # without the queries that were trained on

Texts are equal when they are after Unicode normalisation, case folding and joining of white space. Near duplicates are found by
MinHash over word shingles (Broder 1997, On the resemblance and containment of documents) with banding, then checked exactly.
Not here: what a fold is used for.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from routers.data.table import RewardTable

SIMILARITY = 0.9
"""Texts whose distinctive shingles have at least this Jaccard similarity are near duplicates."""

_SHINGLE_WORDS = 3
_BANDS, _BAND_ROWS = 16, 8
"""A pair of similarity s shares a band with probability 1 - (1 - s^8)^16: .9999 at .9, .06 at .5."""

_COMMON_SHARE, _COMMON_LEAST, _COMMON_MOST = 0.01, 10, 100
"""A shingle in more than 1% of all texts (but at least 10 and at most 100) is a template's and tells nothing of a query."""

_ESTIMATE_MARGIN = 0.15
"""How far below a similarity its estimate of 128 hashes may lie: more than five standard deviations."""

REMEMBERED = 1 << 15
"""Hashes kept: a fit that cross-validates asks for those of the same texts dozens of times."""

_CHUNK_PAIRS = 20_000
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+|[^\w\s.,;:!?'\"]")
"""A word; a character of a script that writes no spaces counts as one, and so does a sign, for 17 + 23 is not 17 * 23."""

_MIX = np.uint64(0x9E3779B97F4A7C15)

UInt64Array = NDArray[np.uint64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Duplicates:
    """exact, near: `(n_test,)`, which test queries stand in train; near ones are not exact."""

    exact: BoolArray
    near: BoolArray

    @property
    def any(self) -> BoolArray:
        """`(n_test,)`: exact or near."""
        return self.exact | self.near


def normalised(text: str) -> str:
    """What two texts have in common when they count as the same query."""
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())  # folding may leave what can be composed


@lru_cache(maxsize=REMEMBERED)
def query_hash(query: str, seed: int = 0) -> int:
    """64 bits of the normalised text, the same on every machine."""
    data = normalised(query).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(data, digest_size=8, salt=seed.to_bytes(8, "little", signed=True))
    return int.from_bytes(digest.digest(), "little")


def fold_numbers(table: RewardTable, k: int, seed: int = 0) -> NDArray[np.intp]:
    """`(n_queries,)` of 0..k-1: a fold per query; equal texts share one, and folds hold the same number of distinct texts (±1).

    Raises ValueError when there are fewer distinct texts than folds.
    """
    hashes = np.array([query_hash(query, seed) for query in table.queries], dtype=np.uint64)
    distinct, position = np.unique(hashes, return_inverse=True)
    if not 2 <= k <= len(distinct):
        raise ValueError(f"expected from 2 to {len(distinct)} folds (the number of distinct queries), got {k}")
    return position.astype(np.intp) % k


def is_held_out(query: str, share: float, seed: int = 0) -> bool:
    """Whether a query belongs to the part held out, which holds about `share` (0..1) of all texts."""
    return query_hash(query, seed) < share * 2**64


def find_duplicates(train: Sequence[str], test: Sequence[str]) -> Duplicates:
    """Which test queries stand in train, as they are or nearly so."""
    known = {text: i for i, text in enumerate(dict.fromkeys(map(normalised, train)))}
    texts = [normalised(text) for text in test]
    exact = np.array([text in known for text in texts], dtype=np.bool_)
    asked = {text: i for i, text in enumerate(dict.fromkeys(text for text in texts if text not in known))}
    found = _near([*known, *asked], len(known))
    near = np.array([text in asked and found[asked[text]] for text in texts], dtype=np.bool_)
    return Duplicates(exact, near)


def _near(texts: Sequence[str], num_train: int) -> BoolArray:
    """`(len(texts) - num_train,)`: which of the texts behind the first `num_train` are near one of those. Texts are distinct."""
    found = np.zeros(len(texts) - num_train, dtype=np.bool_)
    shingles, starts = _distinctive(*_shingles(texts))
    signatures = _signatures(shingles, starts)
    told = np.diff(starts) > 0
    for left, right in _candidates(signatures, told, num_train):
        alike = (signatures[left] == signatures[right]).mean(axis=1) >= SIMILARITY - _ESTIMATE_MARGIN
        for i, j in zip(left[alike].tolist(), right[alike].tolist(), strict=True):
            if not found[j - num_train]:
                found[j - num_train] = _jaccard(_of(i, shingles, starts), _of(j, shingles, starts)) >= SIMILARITY
    return found


def _shingles(texts: Sequence[str]) -> tuple[UInt64Array, NDArray[np.intp]]:
    """The distinct shingle hashes of all texts, one text after another and sorted within it, and where each text starts."""
    vocabulary: dict[str, int] = {}
    rows = [_shingle_hashes(_WORD.findall(text), vocabulary) for text in texts]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.intp)
    return np.concatenate(rows) if rows else np.empty(0, dtype=np.uint64), starts


def _shingle_hashes(words: Sequence[str], vocabulary: dict[str, int]) -> UInt64Array:
    """Distinct hashes of every run of three words; a shorter text is one shingle."""
    numbers = np.array([vocabulary.setdefault(word, len(vocabulary) + 1) for word in words], dtype=np.uint64)
    width = min(_SHINGLE_WORDS, len(numbers))
    if width == 0:
        return numbers
    hashes = np.zeros(len(numbers) - width + 1, dtype=np.uint64)
    for offset in range(width):
        hashes = _mixed(hashes + numbers[offset : offset + len(hashes)])
    return np.unique(hashes)


def _mixed(values: UInt64Array) -> UInt64Array:
    """The finaliser of splitmix64 (Steele et al. 2014): every bit of the input moves every bit of the output."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9) + _MIX
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _distinctive(shingles: UInt64Array, starts: NDArray[np.intp]) -> tuple[UInt64Array, NDArray[np.intp]]:
    """Without the shingles of templates, so that few-shot examples that all prompts share don't make all prompts alike."""
    _, position, counts = np.unique(shingles, return_inverse=True, return_counts=True)
    common = np.clip(_COMMON_SHARE * (len(starts) - 1), _COMMON_LEAST, _COMMON_MOST)
    kept = counts[position] <= common
    return shingles[kept], np.concatenate([[0], np.cumsum(kept)])[starts]


def _signatures(shingles: UInt64Array, starts: NDArray[np.intp]) -> UInt64Array:
    """MinHash: `(n_texts, bands * rows)`, in each column the least shingle under another hash. 0 for a text without shingles."""
    num_texts, num_hashes = len(starts) - 1, _BANDS * _BAND_ROWS
    signatures = np.zeros((num_texts, num_hashes), dtype=np.uint64)
    told = np.flatnonzero(np.diff(starts))
    for column, salt in enumerate(np.arange(1, num_hashes + 1, dtype=np.uint64) * _MIX):
        if len(told):
            signatures[told, column] = np.minimum.reduceat(_mixed(shingles + salt), starts[told])
    return signatures


def _candidates(
    signatures: UInt64Array, told: BoolArray, num_train: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs of a train and a test text that share a band, in chunks; a pair that shares several may come several times."""
    train = np.flatnonzero(told[:num_train])
    test = num_train + np.flatnonzero(told[num_train:])
    for band in range(_BANDS):
        keys = np.zeros(len(signatures), dtype=np.uint64)
        for row in range(_BAND_ROWS):
            keys = _mixed(keys + signatures[:, band * _BAND_ROWS + row])
        by_key = train[np.argsort(keys[train])]
        first = np.searchsorted(keys[by_key], keys[test], side="left")
        counts = np.searchsorted(keys[by_key], keys[test], side="right") - first
        right = np.repeat(test, counts)
        within = np.arange(len(right)) - np.repeat(np.cumsum(counts) - counts, counts)
        left = by_key[np.repeat(first, counts) + within]
        for start in range(0, len(right), _CHUNK_PAIRS):
            yield left[start : start + _CHUNK_PAIRS], right[start : start + _CHUNK_PAIRS]


def _of(text: int, shingles: UInt64Array, starts: NDArray[np.intp]) -> UInt64Array:
    return shingles[starts[text] : starts[text + 1]]


def _jaccard(one: UInt64Array, other: UInt64Array) -> float:
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)
