"""Whether a gain may be chance, and whether it still may be when many routers were tried.

    p = [p_value(earned - single) for earned in routers]
    holm(p)                                              # (n_routers,), to be compared with 0.05

Queries are the units: where one was tested in several seeds or rounds, hand in the mean of its differences. Not here: intervals
(`bootstrap` and `paired` in `routers/training/evaluation.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray


def p_value(differences: FloatArray | NDArray[np.float64]) -> float:
    """Of the mean difference being 0, two-sided, by Student's paired t-test over the differences that are known, `(n_queries,)`.

    Unlike a permutation of signs it needs no draws, and so no floor under p that Holm's factor would lift over 0.05. On differences
    of right and wrong answers it rejects a true null in 4 to 6 % of cases from 400 queries on. Differences that are all the same
    have no spread to test by: there p is the exact one of the sign test, `2 ** (1 - n)`. Raises ValueError when none is known.
    """
    from scipy.special import stdtr

    known = differences[~np.isnan(differences)].astype(np.float64)
    n = len(known)
    if not n:
        raise ValueError("no difference is known, expected at least one")
    if known.min() == known.max():
        return 2.0 ** (1 - n) if known[0] else 1.0
    t = known.mean() / (known.std(ddof=1) / math.sqrt(n))
    return float(2.0 * stdtr(n - 1, -abs(t)))


def holm(p_values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusted p-values in the order given: rejecting those up to 0.05 errs anywhere in at most 5 % of cases (Holm 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted
