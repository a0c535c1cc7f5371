"""Quality against the share of calls to a strong model: RouteLLM's PGR, APGR and CPT.

    recovered = gap_recovered(gain, weak, strong)        # the whole curve, in order of what the router expects of the strong model
    apgr(recovered), call_share(recovered, 0.5)

Rewards are 0..1. Not here: which of two experts is the strong one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def gap_recovered(gain: Doubles, weak: Doubles, strong: Doubles) -> Doubles:
    """Performance gap recovered when 0, 1, ..., n queries go to the strong model, `(n + 1,)`: 0 is the weak model, 1 the strong.

    gain: `(n,)`, what the router expects the strong model to add; those with most go first. weak, strong: rewards `(n,)`.
    RouteLLM (arXiv 2406.18665), equation 4. Equal gains are no order: each such query counts as their mean, which is what a random
    order recovers on average. NaN throughout when the two models earn the same.
    """
    gap = float((strong - weak).sum())
    if not gap:
        return np.full(len(gain) + 1, np.nan)
    _, place = np.unique(-gain, return_inverse=True)
    means = np.bincount(place, strong - weak) / np.bincount(place)
    recovered = np.concatenate(([0.0], np.cumsum(means[np.sort(place)]) / gap))
    recovered[-1] = 1.0  # what rounding took would leave a target of 1 unreached
    return recovered


def apgr(recovered: Doubles) -> float:
    """Average performance gap recovered over all shares of strong calls (RouteLLM, equation 5): 0.5 for a coin."""
    return float(np.trapezoid(recovered, dx=1.0 / (len(recovered) - 1)))


def call_share(recovered: Doubles, target: float) -> float:
    """Call-performance threshold: the least share 0..1 of strong calls that recovers `target` of the gap (CPT50 for 0.5).

    NaN when no share does.
    """
    reached = recovered >= target
    return float(np.argmax(reached) / (len(recovered) - 1)) if reached.any() else float("nan")
