"""Quality against the share of calls to a strong model: RouteLLM's PGR, APGR and CPT.

    recovered = gap_recovered(gain, weak, strong)        # the whole curve, in order of what the router expects of the strong model
    apgr(recovered), call_share(recovered, 0.5)
    apgr_by_thresholds(gain, weak, strong)               # on RouteLLM's coarser curve, as in its published numbers

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


def apgr_by_thresholds(gain: Doubles, weak: Doubles, strong: Doubles, num_results: int = 10) -> float:
    """APGR as RouteLLM's code has it (`routellm/evals`), from which its published numbers come; arguments as of `gap_recovered`.

    The curve has `num_results + 1` points: thresholds at the quantiles of the gains, a query going to the strong model when its
    gain is at or above, and none at the last. The area is by trapezoids over the shares of calls that result, so it is a little
    below `apgr` where the curve bends. Their code fails where two thresholds are equal.
    """
    shares, recovered = _curve_by_thresholds(gain, weak, strong, num_results)
    return float(np.trapezoid(recovered, shares))


def call_share_by_thresholds(
    gain: Doubles, weak: Doubles, strong: Doubles, target: float, num_results: int = 10
) -> float:
    """CPT as RouteLLM's code has it: the share of calls interpolated at `target` of the gap; see `apgr_by_thresholds`."""
    shares, recovered = _curve_by_thresholds(gain, weak, strong, num_results)
    return float(np.interp(target, recovered, shares))


def _curve_by_thresholds(gain: Doubles, weak: Doubles, strong: Doubles, num_results: int) -> tuple[Doubles, Doubles]:
    """Rising shares of strong calls, and the gap recovered at each."""
    thresholds = np.quantile(gain, np.linspace(0.0, 1.0, num_results + 1))[-2::-1]
    called = gain >= thresholds[:, None]
    gap = float((strong - weak).mean()) or float("nan")
    recovered = (called * (strong - weak)).mean(axis=1) / gap
    return np.append(0.0, called.mean(axis=1)), np.append(0.0, recovered)
