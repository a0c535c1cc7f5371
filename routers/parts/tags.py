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

    different = len({row.tobytes() for row in vectors})
    with threadpool_limits(1):  # sums have one order then, and clusters don't depend on the machine
        model = KMeans(min(clusters, different), n_init=1, random_state=seed).fit(vectors)
    tags: Tags = model.labels_.astype(np.intp)
    return tags
