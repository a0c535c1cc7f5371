"""What RouterArena ranks routers by (arXiv 2510.00202, and `llm_evaluation/run.py` of RouteWorks/RouterArena).

    arena_score(0.67, usd_per_1000=0.15)                 # 0.67
    optimal_selection(rewards, costs, choice)            # how often the cheapest expert of those that are right was chosen

The optimal expert of a query is the cheapest one with a reward of 1; a query without any does not count. rewards and costs are
`(n_queries, n_experts)`, NaN where not known; choice is `(n_queries,)`, columns. Each is NaN when no query counts. Not here: noise
(`noise.py`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray
from routers.training.evaluation import Choice

LEAST_USD, MOST_USD = 0.0044, 200.0
"""Of 1,000 queries: the range on which RouterArena puts costs."""


def arena_score(accuracy: float, usd_per_1000: float, beta: float = 0.1) -> float:
    """`(1 + beta) A C / (beta A + C)`: A is the accuracy 0..1, C the logarithm of the cost of 1,000 queries, from 1 (cheap) to 0.

    Costs outside of RouterArena's range count as its ends. Raises ValueError for a negative cost.
    """
    if usd_per_1000 < 0:
        raise ValueError(f"a cost of {usd_per_1000} USD is negative, expected 0 or more")
    cost = min(max(usd_per_1000, LEAST_USD), MOST_USD)
    cheapness = math.log2(MOST_USD / cost) / math.log2(MOST_USD / LEAST_USD)
    if not accuracy or not cheapness:
        return 0.0
    return (1.0 + beta) * accuracy * cheapness / (beta * accuracy + cheapness)


def optimal_selection(rewards: FloatArray, costs: FloatArray, choice: Choice) -> float:
    """The share of queries on which the optimal expert was chosen, or another that is right and costs the same."""
    least, paid, right = _least_and_paid(rewards, costs, choice)
    return _ratio((right & (paid <= least)).sum(), len(least))


def optimal_cost(rewards: FloatArray, costs: FloatArray, choice: Choice) -> float:
    """What the optimal experts cost as a share of what was paid, over the queries that the chosen expert got right.

    1 where nothing was paid.
    """
    least, paid, right = _least_and_paid(rewards, costs, choice)
    if right.any() and not paid[right].sum():
        return 1.0
    return _ratio(least[right].sum(), paid[right].sum())


def optimal_accuracy(rewards: FloatArray, costs: FloatArray, choice: Choice) -> float:
    """The mean reward of the chosen experts, where the optimal one's is 1."""
    counted = _counted(rewards, costs, choice)
    earned = rewards[np.arange(len(choice)), choice][counted]
    return _ratio(earned.sum(dtype=np.float64), len(earned))


def _least_and_paid(
    rewards: FloatArray, costs: FloatArray, choice: Choice
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Of the queries that count, `(n_counted,)`: the optimal cost, the chosen expert's cost, and whether it was right."""
    counted, rows = _counted(rewards, costs, choice), np.arange(len(choice))
    least = np.where(_is_right(rewards, costs), costs, np.inf).min(axis=1)
    paid, right = costs[rows, choice], rewards[rows, choice] >= 1.0
    return least[counted].astype(np.float64), paid[counted].astype(np.float64), right[counted]


def _counted(rewards: FloatArray, costs: FloatArray, choice: Choice) -> NDArray[np.bool_]:
    """`(n_queries,)`: some expert is right, and reward and cost of the chosen one are known."""
    rows = np.arange(len(choice))
    known: NDArray[np.bool_] = ~np.isnan(rewards[rows, choice] + costs[rows, choice])
    return known & _is_right(rewards, costs).any(axis=1)


def _is_right(rewards: FloatArray, costs: FloatArray) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = (rewards >= 1.0) & ~np.isnan(costs)
    return right


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
