"""Regions of the query space: clusters of queries that are about the same.

    centres = find_regions(vectors)                   # (n_regions, dimensions); or find_regions(vectors, count=4)

By k-means on the queries' vectors, as in "One Prompt is not Enough" (arXiv 2407.00256). The number of regions is the one whose mean
silhouette (Rousseeuw 1987) is highest, and one where no split has a positive one. Not here: instructions (`instructions.py`).
"""

from __future__ import annotations

import numpy as np

from routers.base import FloatArray
from routers.parts.tags import Tags, mined_tags

MAX_REGIONS = 16
ROWS_PER_REGION = 8
"""There are never more regions, unless asked for, than one per so many queries."""
SAMPLE = 2000
"""Queries that the silhouette is measured on, where there are more."""


def find_regions(vectors: FloatArray, count: int | None = None) -> FloatArray:
    """The regions' centres. count: how many there shall be, None to choose; fewer where fewer vectors differ."""
    labels = _best(vectors) if count is None else mined_tags(vectors, count, seed=0)
    centres = np.stack([vectors[labels == region].mean(axis=0) for region in np.unique(labels)])
    return centres.astype(np.float32)


def _best(vectors: FloatArray) -> Tags:
    most = min(MAX_REGIONS, len(vectors) // ROWS_PER_REGION)
    splits = [mined_tags(vectors, count, seed=0) for count in range(1, most + 1)]
    return max(splits or [np.zeros(len(vectors), dtype=np.intp)], key=lambda labels: _silhouette(vectors, labels))


def _silhouette(vectors: FloatArray, labels: Tags) -> float:
    """-1..1; 0 where there is nothing to compare."""
    from sklearn.metrics import silhouette_score

    if not 1 < len(np.unique(labels)) < len(labels):
        return 0.0
    sample = SAMPLE if len(labels) > SAMPLE else None
    return float(silhouette_score(vectors, labels, sample_size=sample, random_state=0))
