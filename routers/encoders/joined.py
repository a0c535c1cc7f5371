"""Several encoders' vectors side by side, as one vector.

    JoinedEncoder([minilm, HashedEncoder(1024)], weights=[1.0, 0.5]).encode(["What is 17 * 23?"])      # (1, 384 + 1024)

Each part is scaled by its weight, and the whole has length 1: a cosine of joined vectors is the mean of the parts' cosines,
weighted by the squares. Not here: joins of joins; give all the parts at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np

from routers.base import Encoder, FloatArray


class JoinedEncoder:
    """weights: one per part, by default 1 each."""

    def __init__(self, parts: Sequence[Encoder], weights: Sequence[float] | None = None) -> None:
        self.parts = tuple(parts)
        self.weights = (1.0,) * len(self.parts) if weights is None else tuple(weights)

    @property
    def fingerprint(self) -> str:
        weighted = zip(self.weights, self.parts, strict=True)
        return f"joined({'+'.join(f'{float(weight)!r}*{part.fingerprint}' for weight, part in weighted)})"

    @classmethod
    def of(cls, fingerprint: str, find: Callable[[str], Encoder]) -> Self | None:
        """The join with this fingerprint, or None when it is another kind's. `find` gives the parts by theirs."""
        found = re.fullmatch(r"joined\((.+)\)", fingerprint)
        if found is None:
            return None
        terms = [term.partition("*") for term in found[1].split("+")]
        return cls([find(part) for _, _, part in terms], [float(weight) for weight, _, _ in terms])

    @property
    def dimensions(self) -> int:
        return sum(part.dimensions for part in self.parts)

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Shape `(len(texts), dimensions)`, rows of length 1 (0 where every part's is). Thread-safe."""
        weighted = zip(self.weights, self.parts, strict=True)
        joined = np.concatenate([np.float32(weight) * part.encode(texts) for weight, part in weighted], axis=1)
        lengths = np.linalg.norm(joined, axis=1, keepdims=True)
        unit: FloatArray = (joined / np.where(lengths == 0.0, 1.0, lengths)).astype(np.float32)
        return unit
