"""What the field measures routers by, as pure functions: quality against cost, and against the share of calls to a strong model.

    aiq(costs, qualities)                          # RouterBench's average improvement in quality, over the curve of a lambda sweep
    recovered = gap_recovered(gain, weak, strong)  # RouteLLM's curve
    apgr(recovered), call_share(recovered, 0.5)

Costs are in any unit, qualities 0..1. Not here: mean rewards and their intervals (`routers/training/evaluation.py`).
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
    """Mean height of the frontier between the costs `low` and `high` (RouterBench, equation 4).

    Below its cheapest point the frontier is taken at that point's quality, beyond its dearest it is flat.
    """
    x, y = frontier(costs, qualities)
    inside = x[(x > low) & (x < high)]
    grid = np.concatenate(([low], inside, [high]))
    return float(np.trapezoid(np.interp(grid, x, y), grid) / (high - low))


def cost_to_reach(costs: Doubles, qualities: Doubles, quality: float) -> float:
    """The least cost at which the frontier has this quality; NaN when it never has."""
    x, y = frontier(costs, qualities)
    if quality > y[-1]:
        return float("nan")
    return float(np.interp(quality, y, x))


def gap_recovered(gain: Doubles, weak: Doubles, strong: Doubles) -> Doubles:
    """Performance gap recovered when 0, 1, ..., n queries go to the strong model, `(n + 1,)`: 0 is the weak model, 1 the strong.

    gain: `(n,)`, what the router expects the strong model to add; those with most go first. weak, strong: rewards `(n,)`.
    RouteLLM (arXiv 2406.18665), equation 4.
    """
    order = np.argsort(-gain, kind="stable")
    added = np.concatenate(([0.0], np.cumsum((strong - weak)[order])))
    recovered: Doubles = added / added[-1]
    return recovered


def apgr(recovered: Doubles) -> float:
    """Average performance gap recovered over all shares of strong calls (RouteLLM, equation 5): 0.5 for a coin."""
    return float(np.trapezoid(recovered, dx=1.0 / (len(recovered) - 1)))


def call_share(recovered: Doubles, target: float) -> float:
    """Call-performance threshold: the least share 0..1 of strong calls that recovers `target` of the gap (CPT50 for 0.5)."""
    return float(np.argmax(recovered >= target) / (len(recovered) - 1))


def _is_below(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether `middle` lies on or below the line from `left` to `right`."""
    rise = (right[1] - left[1]) * (middle[0] - left[0])
    return (middle[1] - left[1]) * (right[0] - left[0]) <= rise
