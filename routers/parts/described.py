"""An encoder that reads a query together with what a language model says of it: first the query's vector, then the description's.

    def describe(queries): ...                    # one text per query, such as "addition of two small integers"
    encoder = DescribedEncoder(minilm, describe, name="task-v1")
    HierarchicalRouter(encoder=encoder, described=True).fit(outcomes)

GLIDER (arXiv 2410.07172) asks a language model what task a query is of, and routes by that as well as by the query itself. Who
describes is up to the caller: it takes a call per query, in training and in serving. Not here: prompts and models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from routers.base import Encoder, FloatArray


class DescribedEncoder:
    """describe: texts to as many descriptions. name: of the describer, for another one means other features."""

    def __init__(self, encoder: Encoder, describe: Callable[[Sequence[str]], Sequence[str]], *, name: str) -> None:
        self.encoder = encoder
        self.describe = describe
        self.name = name

    @property
    def fingerprint(self) -> str:
        return f"described-{self.name}-{self.encoder.fingerprint}"

    @property
    def dimensions(self) -> int:
        return 2 * self.encoder.dimensions

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Shape `(len(texts), dimensions)`, rows of length 1. Raises ValueError for a wrong number of descriptions."""
        descriptions = self.describe(texts)
        if len(descriptions) != len(texts):
            raise ValueError(f"{len(texts)} descriptions were expected, got {len(descriptions)} from '{self.name}'")
        halves = (self.encoder.encode(texts), self.encoder.encode(descriptions))
        vectors: FloatArray = np.concatenate(halves, axis=1) * np.float32(0.5**0.5)
        return vectors
