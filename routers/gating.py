"""Policies over scores: preferences that change them before the choice, and load that is evened out over the stream.

    scores = prefer_small(router.predict(queries), sizes_gb, 0.02)
    load = StreamLoad.start(n_experts)
    weights = gate(balanced(scores, load, 0.05), 0.1, top_k=2)          # kernels/gating.py: top-k, top-p, null experts
    load = load.after(weights)

Pure functions on `(n_queries, n_experts)` scores in units of reward: a strength says how much reward is given up. Which experts
then answer is for `kernels.gating.gate` (top-k, top-p, null experts), or, where each takes only so many queries,
`kernels.gating.expert_choice`. Not here: prices and waits (`routers/policy.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from routers.base import FloatArray

WINDOW = 10_000.0
"""Queries over which the load of a stream is measured."""


def prefer_small(scores: FloatArray, sizes: FloatArray, strength: float) -> FloatArray:
    """Scores less `strength` times each expert's size, as a share of the largest; sizes are `(n_experts,)`, 0 or more, in any unit.

    HMoE: Heterogeneous Mixture of Experts for Language Modeling, arXiv 2408.10681, penalises the use of experts by their size so
    that small ones are used where they do.
    """
    preferred: FloatArray = scores - np.float32(strength) * (sizes / max(float(sizes.max()), 1e-12)).astype(np.float32)
    return preferred


@dataclass(frozen=True)
class StreamLoad:
    """counts: `(n_experts,)`, how many of about the last `window` queries each expert had.

    Demons in the Detail: On Implementing Load Balancing Loss for Training Specialized Mixture-of-Experts Models, arXiv
    2501.11873: balance within every small batch forbids specialists, balance over the whole stream does not.
    """

    counts: FloatArray
    window: float = WINDOW

    @classmethod
    def start(cls, num_experts: int, window: float = WINDOW) -> Self:
        """A load that is even and has no weight yet."""
        return cls(np.zeros(num_experts, dtype=np.float32), window)

    @property
    def shares(self) -> FloatArray:
        """`(n_experts,)`, they sum to 1. Until a window has passed, an even load counts for what is missing."""
        missing = max(self.window - float(self.counts.sum()), 0.0) / len(self.counts)
        filled = self.counts + np.float32(missing)
        shares: FloatArray = filled / filled.sum()
        return shares

    def after(self, weights: FloatArray) -> Self:
        """The load when a batch has been gated with `weights (n_queries, n_experts)`; one-hot rows for choices."""
        kept = np.exp(-len(weights) / self.window)
        return type(self)((kept * self.counts + weights.sum(axis=0)).astype(np.float32), self.window)


def balanced(scores: FloatArray, load: StreamLoad, strength: float) -> FloatArray:
    """Scores less `strength` times what an expert's load exceeds an even one by, in even shares; raised where it falls short."""
    excess = load.shares * len(load.counts) - 1.0
    evened: FloatArray = scores - np.float32(strength) * excess
    return evened
