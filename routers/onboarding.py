"""An expert that came after a router was fitted, as a mixture of those it knows.

    added = onboard("new", likeness=shares, predicted=router.predict(queries), rewards=rewards)
    added.predict(router.predict(["another query"]))        # expected reward of the new expert

The new expert's reward is taken to be a weighted sum of the known experts' expected rewards, plus a constant. Weights are those of
the descriptions' likeness until there are examples, and move away from them by ridge regression as examples come in. Any
router can take an expert in this way; `kshot` and `factorization` have better ones of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from routers.base import FloatArray

PSEUDO_ROWS = 10.0
"""How many examples the prior counts for, in the weights as in the constant."""
PRIOR_STD = 0.25
"""Standard error of an expert nobody has tried."""


@dataclass(frozen=True, slots=True)
class Onboarded:
    """weights: one per known expert. examples: how many it was learned from. std: standard error of what it predicts."""

    name: str
    weights: tuple[float, ...]
    constant: float
    examples: int
    std: float

    def predict(self, known: FloatArray) -> FloatArray:
        """`(n_queries,)` from the known experts' expected rewards `(n_queries, n_experts)`."""
        mixed: FloatArray = np.clip(known @ np.array(self.weights, dtype=np.float32) + self.constant, 0.0, 1.0)
        return mixed


def onboard(name: str, likeness: FloatArray, predicted: FloatArray | None, rewards: FloatArray) -> Onboarded:
    """likeness: `(n_experts,)`, sums to 1. predicted: `(n_examples, n_experts)` or None. rewards: `(n_examples,)`."""
    if predicted is None or not len(rewards):
        return Onboarded(name, tuple(likeness.tolist()), 0.0, 0, PRIOR_STD)
    residual = rewards - predicted @ likeness
    centred = predicted - predicted.mean(axis=0)
    gram = centred.T @ centred + PSEUDO_ROWS * np.eye(len(likeness))
    weights = likeness + np.linalg.solve(gram, centred.T @ (residual - residual.mean()))
    left = rewards - predicted @ weights
    constant = float(left.sum() / (len(rewards) + PSEUDO_ROWS))
    std = PRIOR_STD * np.sqrt(PSEUDO_ROWS / (len(rewards) + PSEUDO_ROWS))
    return Onboarded(name, tuple(weights.tolist()), constant, len(rewards), float(std))
