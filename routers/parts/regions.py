"""Mean rewards of regions of the query space, drawn towards what is known without the region.

    means, errors = shrunk_means(table, memberships, table.means, pseudo_rows=20.0)

A region is a cluster, a leaf, or a category; a query may belong to several in part. A region's mean counts as much as its rows, the
prior as much as `pseudo_rows`, so that an expert nobody tried there is as good as the prior says (empirical Bayes: Efron and
Morris 1975). Not here: where the regions come from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray
from routers.data.table import RewardTable


def shrunk_means(
    table: RewardTable, memberships: FloatArray, prior: FloatArray, pseudo_rows: float
) -> tuple[FloatArray, FloatArray]:
    """Means and their standard errors, both `(n_regions, n_experts)`.

    memberships: `(n_queries, n_regions)`, 0..1. prior: `(n_experts,)` or `(n_regions, n_experts)`. pseudo_rows: above 0.
    """
    weights = np.where(table.tried, table.weights, np.float32(0.0))
    rewards = np.where(table.tried, table.rewards, np.float32(0.0))
    totals = memberships.T @ weights + np.float32(pseudo_rows)
    means = (memberships.T @ (weights * rewards) + pseudo_rows * prior) / totals
    squares = (memberships.T @ (weights * rewards**2) + pseudo_rows * np.square(prior)) / totals
    spread = np.maximum(squares - means**2, 0.0) + np.maximum(means * (1.0 - means), 0.0) * pseudo_rows / totals
    # One more row of the largest variance there is: rewards that happened to be equal are no proof that all will be.
    errors = np.sqrt((spread * totals + 0.25) / (totals + 1.0) / totals)
    return means.astype(np.float32), errors.astype(np.float32)


def one_hot(labels: NDArray[np.intp], num_regions: int | None = None) -> FloatArray:
    """Memberships `(n_queries, num_regions)` of queries that belong to one region each, by default of 0 to the highest label."""
    return np.eye(int(labels.max()) + 1 if num_regions is None else num_regions, dtype=np.float32)[labels]
