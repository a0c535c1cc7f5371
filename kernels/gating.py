"""Gating: scores of experts to the weights of those that answer, and queries to experts that have only so many places.

    weights = gate(scores, temperature=0.1, top_k=3, top_p=0.8)            # (q, m) -> (q, m), rows sum to 1
    chosen = expert_choice(scores, capacities, at_most=1, at_least=1)      # (q, m), (m,) -> (q, m) bool

`gate` is softmax with temperature, top-k, top-p (Harder Tasks Need More Experts, arXiv 2403.07652: as many experts as it takes to
be sure of the share p) and null experts (AdaMoE, arXiv 2406.13233: they take places and do nothing). `expert_choice` is
Mixture-of-Experts with Expert Choice Routing (arXiv 2202.09368). Plain versions: `kernels.reference`. How the two serve as
policies: `routers/gating.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float32]
_Ints = NDArray[np.intp]
_Bools = NDArray[np.bool_]


def gate(
    scores: _Floats,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    null_score: float | None = None,
) -> _Floats:
    """Weights of the experts kept for each query, `(q, m)` float32, from `scores (q, m)`; minus infinity is never kept.

    Kept are the k best, and of those as many as it takes for their softmax shares to reach `top_p`; of equal scores the
    earlier expert is first. There are as many null experts as needed, with `null_score`: an expert that does not beat it is
    not kept. Rows sum to 1, or are zeros where no expert is kept. Raises ValueError unless temperature > 0, k >= 1 and
    0 < p <= 1.
    """
    if temperature <= 0.0 or not 0.0 < top_p <= 1.0 or (top_k is not None and top_k < 1):
        raise ValueError(f"expected temperature > 0, k >= 1, 0 < p <= 1, got {temperature}, {top_k}, {top_p}")
    null = -np.inf if null_score is None else null_score
    if not scores.size:
        return np.zeros(scores.shape, dtype=np.float32)
    peak = np.maximum(scores.max(axis=1, keepdims=True), null)
    peak = np.where(np.isneginf(peak), 0.0, peak).astype(np.float64)
    shares = np.exp((scores - peak) / temperature)
    kept = scores > null
    if top_k is not None or top_p < 1.0:
        order = np.argsort(-scores, axis=1, kind="stable")
        total = shares.sum(axis=1, keepdims=True) + np.exp((null - peak) / temperature)
        reached = np.cumsum(np.take_along_axis(shares, order, axis=1), axis=1)
        needed = np.ones(scores.shape, dtype=np.bool_)
        needed[:, 1:] = reached[:, :-1] < top_p * total
        needed[:, len(scores[0]) if top_k is None else top_k :] = False
        np.put_along_axis(kept, order, needed & np.take_along_axis(kept, order, axis=1), axis=1)
    shares = np.where(kept, shares, 0.0)
    totals = shares.sum(axis=1, keepdims=True)
    weights: _Floats = (shares / np.where(totals > 0.0, totals, 1.0)).astype(np.float32)
    return weights


def expert_choice(scores: _Floats, capacities: _Ints, at_most: int = 1, at_least: int = 0) -> _Bools:
    """Each expert's choice of queries, `(q, m)`, from `scores (q, m)` and how many queries each expert takes, `capacities (m,)`.

    Pairs are taken from the best score down, where expert and query both have room: that is what results when every expert
    prefers its best queries and every query its best experts. First every query gets up to `at_least` experts, best pairs
    first and while capacities last, then up to `at_most`. A score of minus infinity is never taken. Raises ValueError unless
    0 <= at_least <= at_most.
    """
    if not 0 <= at_least <= at_most:
        raise ValueError(f"expected 0 <= at_least <= at_most, got {at_least} and {at_most}")
    chosen = np.zeros(scores.shape, dtype=np.bool_)
    if not scores.size:
        return chosen
    ranks = np.empty(scores.size, dtype=np.intp)
    ranks[np.argsort(-scores, axis=None, kind="stable")] = np.arange(scores.size)
    ranks = np.where(np.isneginf(scores), scores.size, ranks.reshape(scores.shape))
    for places in sorted({at_least, at_most}):
        _fill(ranks, chosen, capacities, places)
    return chosen


def _fill(ranks: _Ints, chosen: _Bools, capacities: _Ints, places: int) -> None:
    """Take pairs in the order of `ranks`. Between two experts' last places, what a query gets does not depend on the others,
    so there are at most as many rounds as experts: each takes all pairs up to the next expert's last place."""
    never = ranks.size
    while True:
        room = capacities - chosen.sum(axis=0)
        free = places - chosen.sum(axis=1)
        wanted = np.where(chosen | (room <= 0), never, ranks)
        kth = np.sort(wanted, axis=1)[np.arange(len(wanted)), np.clip(free, 1, wanted.shape[1]) - 1]
        wanted = np.where((wanted <= kth[:, None]) & (free > 0)[:, None], wanted, never)
        in_order = np.sort(wanted, axis=0)
        last = in_order[np.clip(room, 1, len(wanted)) - 1, np.arange(wanted.shape[1])]
        until = int(np.where(room > 0, last, never).min())
        chosen |= (wanted <= until) & (wanted < never)
        if until == never:
            return
