"""Queries to experts that have only so many places each: the assignment with the highest sum of scores, exactly.

    assigned = assign(scores, capacities)              # (n_queries, n_experts), (n_experts,)
    assigned.experts                                   # (n_queries,): the expert of each query
    assigned.worth_of_a_place                          # (n_experts,): what one more place there would add to the sum

Mixture-of-Experts with Expert Choice Routing (arXiv 2202.09368), whose capped variant is a linear program like this one, for
whole models. `kernels.gating.expert_choice` takes the best pairs first instead, which is faster but not the highest sum, and gives
a query several experts or none. Where places don't suffice, add an expert that is nobody: `n_queries` places, and the score of no
answer. `switchyard batch --capacity` is made of it (`orchestrator/bulk/sharing.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import OptimizeResult, linprog

from routers.base import FloatArray

_INFEASIBLE = 2


@dataclass(frozen=True, slots=True)
class Assignment:
    """experts: `(n_queries,)`. worth_of_a_place: `(n_experts,)`, 0 or more, in units of the scores; 0 where places are left."""

    experts: NDArray[np.intp]
    worth_of_a_place: FloatArray

    def total(self, scores: FloatArray) -> float:
        """The sum of the scores that the queries get."""
        return float(np.take_along_axis(scores, self.experts[:, None], axis=1).sum(dtype=np.float64))


def assign(scores: FloatArray, capacities: NDArray[np.intp]) -> Assignment:
    """One expert for every query, no expert more queries than its capacity; minus infinity is never taken.

    Raises ValueError when there are too few places, and for scores that are no numbers, or plus infinity. A linear program whose
    corners are whole (it is a transport problem), by HiGHS: interior points first, about 1 s for 10,000 queries and 16 experts.
    """
    num_queries, num_experts = scores.shape
    if not (scores < np.inf).all():
        raise ValueError("expected scores that are numbers, or minus infinity")
    if not num_queries:
        return Assignment(np.zeros(0, dtype=np.intp), np.zeros(num_experts, dtype=np.float32))
    for method in (
        "highs-ipm",
        "highs-ds",
    ):  # interior points may end beside a corner or not at all, the simplex doesn't
        found = _solve(scores, capacities, method)
        if found.status == 0 and (found.x.reshape(scores.shape).max(axis=1) > 1 - 1e-6).all():
            break
    if found.status == _INFEASIBLE:
        raise ValueError(
            f"{int(capacities.sum())} places don't do for {num_queries} queries and the experts they may have"
        )
    if found.status != 0:
        raise RuntimeError(f"HiGHS: {found.message}")
    worth = np.maximum(-found.ineqlin.marginals, 0.0).astype(np.float32)
    return Assignment(found.x.reshape(scores.shape).argmax(axis=1).astype(np.intp), worth)


def _solve(scores: FloatArray, capacities: NDArray[np.intp], method: str) -> OptimizeResult:
    num_queries, num_experts = scores.shape
    possible = ~np.isneginf(scores)
    return linprog(
        -np.where(possible, scores, 0.0).ravel().astype(np.float64),
        A_eq=sparse.kron(sparse.eye_array(num_queries), np.ones((1, num_experts)), format="csr"),
        b_eq=np.ones(num_queries),
        A_ub=sparse.kron(np.ones((1, num_queries)), sparse.eye_array(num_experts), format="csr"),
        b_ub=capacities.astype(np.float64),
        bounds=np.column_stack((np.zeros(scores.size), possible.ravel().astype(np.float64))),
        method=method,
    )
