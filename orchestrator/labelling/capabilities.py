"""The two layers of `dmoerm`: categories of queries, and the capabilities that an answer to each of them calls for.

    CAPABILITIES["chitchat"]                      # ("natural conversation", "empathy", ...)
    weights = learn_weights(chosen, rejected)     # how much each capability counts, from pairs of answers

The categories are those of "DMoERM: Recipes of Mixture-of-Experts for Effective Reward Modeling" (arXiv 2403.01197); the
capabilities of each are worded here. Pure: who scores is in `dmoerm.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import LabelError

CAPABILITIES: Mapping[str, tuple[str, ...]] = {
    "text creation": ("intent conformity", "expressiveness", "readability", "content richness", "logic"),
    "roleplay": ("staying in character", "intent conformity", "expressiveness", "natural conversation", "empathy"),
    "objective question": ("correctness", "completeness", "logic", "intent conformity", "readability"),
    "subjective question": ("soundness of reasons", "balance", "intent conformity", "content richness", "readability"),
    "chitchat": ("natural conversation", "empathy", "intent conformity", "harmlessness"),
}
PENALTY = 1.0
"""Of the ridge regression: pairs of answers needed before the weights move noticeably from equal ones."""

Weights = Mapping[str, Mapping[str, float]]
FloatArray = NDArray[np.float64]


def weight_vector(weights: Weights, category: str) -> FloatArray:
    """`(n_capabilities,)`, at least 0, summing to 1: what `weights` says of a category, or equal ones. Raises `LabelError`."""
    names = CAPABILITIES[category]
    if category not in weights:
        return np.full(len(names), 1.0 / len(names))
    given = weights[category]
    if unknown := given.keys() - set(names):
        raise LabelError(
            f"weights of '{category}': unknown capability '{min(unknown)}', expected some of {', '.join(names)}"
        )
    vector = np.array([given.get(name, 0.0) for name in names], dtype=np.float64)
    if not (vector >= 0).all() or not 0 < vector.sum() < np.inf:
        raise LabelError(f"weights of '{category}': expected numbers of at least 0, not all of them 0")
    scaled: FloatArray = vector / vector.sum()
    return scaled


def check_categories(weights: Weights) -> None:
    """Raises `LabelError` for a category that isn't there, and for weights that can't be."""
    for category in weights:
        if category not in CAPABILITIES:
            raise LabelError(f"weights: unknown category '{category}', expected some of {', '.join(CAPABILITIES)}")
        weight_vector(weights, category)


def learn_weights(chosen: FloatArray, rejected: FloatArray, penalty: float = PENALTY) -> FloatArray:
    """How much each capability counts, so that chosen answers score about 1 more than rejected ones.

    chosen, rejected: `(n_pairs, n_capabilities)` scores 0..1. Ridge regression towards equal weights, in closed form; then cut at 0
    and scaled to sum 1, so that a combination of scores stays within 0..1. (The paper trains an MLP on thousands of pairs.)
    """
    equal = np.full(chosen.shape[1], 1.0 / chosen.shape[1])
    differences = chosen - rejected
    gram = differences.T @ differences + penalty * np.eye(len(equal))
    weights = equal + np.linalg.solve(gram, differences.T @ (1.0 - differences @ equal))
    weights = np.maximum(weights, 0.0)
    return weights / weights.sum() if weights.sum() > 0 else equal
