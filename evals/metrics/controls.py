"""What a router's mix of experts earns without looking at queries: what is left over it is what routing adds.

    shuffled(choice, rewards)                            # the same share of each expert, and so the same cost on average

Not here: the mix of experts that would be best (`routers/families/composition.py`).
"""

from __future__ import annotations

import numpy as np

from routers.base import FloatArray
from routers.training.evaluation import Choice


def shuffled(choice: Choice, rewards: FloatArray) -> float:
    """The expected mean reward when the choices `(n_queries,)` are dealt to the queries at random.

    rewards: `(n_queries, n_experts)`, NaN where not tried. It is exact: the mean over all orders of the choices is
    `sum of share * mean reward` over experts. NaN when an expert was chosen that was never tried.
    """
    counts = np.bincount(choice, minlength=rewards.shape[1])
    used = counts > 0
    tried = ~np.isnan(rewards[:, used])
    sums, trials = np.where(tried, rewards[:, used], 0.0).sum(axis=0, dtype=np.float64), tried.sum(axis=0)
    means = np.divide(sums, trials, out=np.full(len(sums), np.nan), where=trials > 0)
    return float(counts[used] @ means / len(choice))
