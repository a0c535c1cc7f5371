"""Tags: what kind of query each one is, from the groups of the outcomes or mined by clustering.

    tags = mined_tags(vectors, clusters=20, seed=0)         # (n_queries,) integers from 0

For training alone: queries that come later have no tag. Not here: what experts earn on each kind (`routers/parts/regions.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray
from routers.data.table import RewardTable

Tags = NDArray[np.intp]


def given_tags(table: RewardTable) -> Tags | None:
    """The groups, numbered; None where a query has none."""
    if None in table.groups:
        return None
    return np.unique(np.array(table.groups, dtype=str), return_inverse=True)[1]


def mined_tags(vectors: FloatArray, clusters: int, seed: int) -> Tags:
    """k-means, with no more clusters than there are different vectors."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    count = min(clusters, len({row.tobytes() for row in vectors}))
    if count == 1:
        return np.zeros(len(vectors), dtype=np.intp)
    with threadpool_limits(1):  # sums have one order then, and clusters don't depend on the machine
        model = KMeans(count, n_init=1, init=_seeds(vectors, count, seed)).fit(vectors)
    tags: Tags = model.labels_.astype(np.intp)
    return tags


def _seeds(vectors: FloatArray, count: int, seed: int) -> FloatArray:
    """Where k-means starts, `(count, dimensions)`: greedy k-means++ (Arthur and Vassilvitskii 2007).

    Scikit-learn's, number for number, in a third of its time, which was twice what k-means itself takes.
    """
    dice = np.random.RandomState(seed)
    wide = (vectors - vectors.mean(axis=0)).astype(np.float64)
    squares = np.einsum("nd,nd->n", wide, wide)
    ones = np.ones(len(vectors), dtype=np.float32)

    def squared_distances(rows: Tags) -> FloatArray:
        distances: FloatArray = (squares[rows, None] + squares - 2.0 * (wide[rows] @ wide.T)).astype(np.float32)
        return np.maximum(distances, np.float32(0.0))

    num_draws = 2 + int(np.log(count))
    chosen = np.empty(count, dtype=np.intp)
    chosen[0] = dice.choice(len(vectors), p=ones / ones.sum())
    nearest = squared_distances(chosen[:1])[0]
    total = nearest @ ones
    for i in range(1, count):
        drawn = np.searchsorted(np.cumsum(nearest), dice.uniform(size=num_draws) * total)
        drawn = np.minimum(drawn, len(vectors) - 1)  # the sums are rounded
        candidates = np.minimum(nearest, squared_distances(drawn))
        totals = candidates @ ones
        best = int(totals.argmin())
        chosen[i], nearest, total = drawn[best], candidates[best], totals[best]
    return vectors[chosen]
