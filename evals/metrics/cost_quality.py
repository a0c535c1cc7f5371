"""Quality against cost, over the curve that a sweep of lambda draws: RouterBench's AIQ, LLMRouterBench's CostSave, hypervolume.

    aiq(costs, qualities, low, high)                     # mean height of what mixing the points can reach
    cost_to_reach(costs, qualities, 0.8)
    cost_save(costs, qualities, single_cost, single_quality)

A point is the mean cost and the mean quality of a router at one lambda, `(n_points,)` each and finite. Costs are in any unit,
qualities 0..1. Not here: drawing the curve.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def frontier(costs: Doubles, qualities: Doubles) -> tuple[Doubles, Doubles]:
    """The non-decreasing convex hull of points `(cost, quality)`: what mixing them can reach, in rising order of cost.

    RouterBench (arXiv 2403.12031), section 3: two routers can be mixed by a coin, so every point between two is reachable.
    """
    order = np.lexsort((-qualities, costs))
    hull: list[tuple[float, float]] = []
    for cost, quality in zip(costs[order].tolist(), qualities[order].tolist(), strict=True):
        if hull and quality <= hull[-1][1]:
            continue
        while len(hull) > 1 and _is_below(hull[-2], hull[-1], (cost, quality)):
            hull.pop()
        hull.append((cost, quality))
    points = np.array(hull, dtype=np.float64)
    return points[:, 0], points[:, 1]


def aiq(costs: Doubles, qualities: Doubles, low: float, high: float) -> float:
    """Average improvement in quality: the mean height of the frontier between the costs `low` and `high` (RouterBench, equation 4).

    Below its cheapest point the frontier is taken at that point's quality, beyond its dearest it is flat. RouterBench's code
    (`evaluation/AIQ.py`) starts at the cheapest point and divides by `high` instead, which is `aiq * (high - low) / high` with
    `low` at that point.
    """
    x, y = frontier(costs, qualities)
    if low == high:
        return float(np.interp(low, x, y))
    inside = x[(x > low) & (x < high)]
    grid = np.concatenate(([low], inside, [high]))
    return float(np.trapezoid(np.interp(grid, x, y), grid) / (high - low))


def cost_to_reach(costs: Doubles, qualities: Doubles, quality: float) -> float:
    """The least cost at which the frontier has this quality; NaN when it never has."""
    x, y = frontier(costs, qualities)
    if quality > y[-1]:
        return float("nan")
    return float(np.interp(quality, y, x))


def cost_save(costs: Doubles, qualities: Doubles, single_cost: float, single_quality: float) -> float:
    """The largest share of the best single expert's cost that a point saves with at least its quality; NaN when none has it.

    `1 - min cost / single_cost`: CostSave of LLMRouterBench (arXiv 2601.07206). Points are not mixed here, unlike in
    `cost_to_reach`. Negative when the quality costs more than it does with the single expert.
    """
    reached = costs[qualities >= single_quality]
    return float(1.0 - reached.min() / single_cost) if len(reached) else float("nan")


def hypervolume(costs: Doubles, qualities: Doubles, reference_cost: float, reference_quality: float) -> float:
    """The share 0..1 of the box of costs 0..`reference_cost` and qualities `reference_quality`..1 that is worse than some point.

    Zitzler and Thiele 1999 (IEEE Transactions on Evolutionary Computation 3.4), in two dimensions. Points outside of the box do not
    count, and points are not mixed.
    """
    inside = (costs < reference_cost) & (qualities > reference_quality)
    order = np.argsort(costs[inside], kind="stable")
    edges = np.append(costs[inside][order], reference_cost)
    heights = np.maximum.accumulate(qualities[inside][order] - reference_quality)
    return float(np.diff(edges) @ heights / (reference_cost * (1.0 - reference_quality)))


def _is_below(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether `middle` lies on or below the line from `left` to `right`."""
    rise = (right[1] - left[1]) * (middle[0] - left[0])
    return (middle[1] - left[1]) * (right[0] - left[0]) <= rise
