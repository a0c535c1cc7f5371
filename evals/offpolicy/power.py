"""How many decisions it takes before a difference can be trusted to show.

    differences = candidate.influence - live.influence
    decisions_needed(differences)                          # 25_300, to show half a point four times of five
    power(differences, 0.005)                              # 0.31: with the decisions that there are

Of the two-sided test that the 95% interval makes, by the normal approximation (Cohen 1988, Statistical Power Analysis), with the
standard deviation of the differences as they are in the log: more decisions like these, with as much feedback and exploration.
"""

from __future__ import annotations

import math

import numpy as np

from evals.offpolicy.estimators import Array

DIFFERENCE = 0.005
"""Half a point of reward: the smallest difference that is worth a new router."""
POWER = 0.8


def decisions_needed(differences: Array, difference: float = DIFFERENCE, power: float = POWER) -> int:
    """How many decisions show a `difference` with probability `power`. differences: `(n,)`, influence values, n of 2 or more.

    Raises ValueError for fewer, for a difference that is not above 0, and for a power outside 0..1.
    """
    from scipy.special import ndtri

    if not difference > 0 or not 0 < power < 1:
        raise ValueError(f"expected a difference above 0 and a power between 0 and 1, got {difference} and {power}")
    quantiles = float(ndtri(0.975) + ndtri(power))
    return max(2, math.ceil((max(quantiles, 0.0) * _deviation(differences) / difference) ** 2))


def power(differences: Array, difference: float = DIFFERENCE) -> float:
    """The probability that a `difference` would show with the decisions that there are. Raises ValueError for fewer than 2."""
    from scipy.special import ndtr, ndtri

    deviation = _deviation(differences)
    if deviation == 0:
        return 1.0
    shift, quantile = difference * math.sqrt(len(differences)) / deviation, ndtri(0.975)
    return float(ndtr(shift - quantile) + ndtr(-shift - quantile))


def _deviation(differences: Array) -> float:
    if len(differences) < 2:
        raise ValueError(f"expected 2 decisions or more to see how they vary, got {len(differences)}")
    return float(np.std(differences, ddof=1))
