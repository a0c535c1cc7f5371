"""Character n-grams and words, hashed: an encoder without a model.

    HashedEncoder(dimensions=1024).encode(["What is 17 * 23?"])          # (1, 1024) float32, rows of length 1

The hashing itself is `kernels/ngrams.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

from kernels.ngrams import ngrams
from routers.base import FloatArray


class HashedEncoder:
    """Character n-grams and words, hashed (`kernels.ngrams`): knows spelling and no meaning, costs microseconds."""

    def __init__(self, dimensions: int = 4096, *, max_characters: int = 4096) -> None:
        self.dimensions = dimensions
        self.max_characters = max_characters

    @property
    def fingerprint(self) -> str:
        return f"hashed-{self.dimensions}-{self.max_characters}"

    @classmethod
    def of(cls, fingerprint: str) -> Self | None:
        """The encoder with this fingerprint, or None when it is another kind's."""
        found = re.fullmatch(r"hashed-([1-9]\d{0,5})-(\d{1,9})", fingerprint)  # beyond that it is no name but an attack
        return None if found is None else cls(int(found[1]), max_characters=int(found[2]))

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Shape `(len(texts), dimensions)`, rows of length 1 (0 for a text without a character). Thread-safe."""
        return ngrams([text[: self.max_characters] for text in texts], self.dimensions)
