"""The principal components of vectors: fewer features that hold most of what tells queries apart.

    components = fit_components(vectors, 32)
    components(vectors)                     # (n_queries, 32) or fewer

Not here: anything that has seen a reward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from routers.base import FloatArray


@dataclass(frozen=True)
class Components:
    """centre: `(dimensions,)`. directions: `(dimensions, n_components)`, that of the greatest variance first."""

    centre: FloatArray
    directions: FloatArray

    def __call__(self, vectors: FloatArray) -> FloatArray:
        """`(n_queries, n_components)`."""
        features: FloatArray = vectors @ self.directions - self.centre @ self.directions
        return features


def fit_components(vectors: FloatArray, count: int) -> Components:
    """At most `count`, and fewer than there are queries; where all vectors are one there is a single feature, that is always 0."""
    from scipy.sparse.linalg import svds

    centre: FloatArray = vectors.mean(axis=0)
    centred = vectors - centre
    count = min(count, min(centred.shape) - 1)
    if count < 1 or np.abs(centred).max() < 1e-6:
        return Components(centre, np.zeros((vectors.shape[1], 1), dtype=np.float32))
    # A given start makes the result the same every time; a constant one would be orthogonal to every centred row.
    start = np.random.default_rng(0).standard_normal(min(centred.shape)).astype(np.float32)
    with np.errstate(invalid="ignore"):  # BLAS was seen to raise that flag for numbers that are all finite
        directions = svds(centred, k=count, v0=start, return_singular_vectors="vh")[2][::-1].T
    return Components(centre, np.ascontiguousarray(directions, dtype=np.float32))
