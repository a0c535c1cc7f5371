"""Vectors of past queries, and the nearest of them: what the routers that keep their training data search.

    memory, order = remember(vectors)           # rows may have moved: `order` says from where
    indices, similarities = memory.nearest(memory.vectors[:3], 50)          # (3, 50) each, the most similar first

Up to `EXACT` rows every row is compared. Beyond that rows lie in cells of a k-means and only the cells nearest to the query are
searched (an inverted file: Jegou et al. 2011, Product Quantization for Nearest Neighbor Search, without the quantisation): about 95
of the 100 nearest are found, of 200,000 in 1 ms instead of 22. faiss finds the cells; searching them is plain numpy, as fast as
faiss's own, so that serving needs no faiss and an artifact holds arrays alone. Vectors are held once, as float32. Not here:
what was learned about the queries, which each router keeps in arrays of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray

IntArray = NDArray[np.intp]

EXACT = 50_000
"""Up to so many rows all are compared; that takes 5 ms at this size."""
BLOCK = 8_000_000
"""Similarities held at a time."""
LEFT_OUT = 4_000
"""Rows that a router is tried on with themselves left out, at most."""
PROBES = 16
"""Cells searched per query."""
SAME = 1.0 - 1e-5
"""Vectors this similar are the same text's."""


@dataclass(frozen=True)
class Memory:
    """vectors: `(n, d)` of length 1, cell by cell. centres: `(n_cells, d)`. starts: `(n_cells + 1,)`, of each cell's rows."""

    vectors: FloatArray
    centres: FloatArray
    starts: IntArray

    def nearest(self, queries: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
        """Rows and similarities, `(q, min(k, n))` each, the most similar first."""
        if len(self.centres) <= PROBES:
            return top_k(queries, self.vectors, k)
        cells, _ = top_k(queries, self.centres, len(self.centres))
        found = [
            self._probe(query, near, min(k, len(self.vectors))) for query, near in zip(queries, cells, strict=True)
        ]
        return np.stack([rows for rows, _ in found]), np.stack([similarities for _, similarities in found])

    def nearest_others(self, rows: IntArray, k: int) -> tuple[IntArray, FloatArray]:
        """`nearest` of the memory's own `rows`, where those of the same text have similarity minus infinity and stand last."""
        indices, similarities = self.nearest(self.vectors[rows], 2 * k)
        similarities = np.where(similarities > SAME, -np.inf, similarities).astype(np.float32)
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(indices, order, axis=1), np.take_along_axis(similarities, order, axis=1)

    def _probe(self, query: FloatArray, cells: IntArray, k: int) -> tuple[IntArray, FloatArray]:
        """Search the nearest cells: `PROBES`, or as many as it takes to find k rows."""
        sizes = self.starts[cells + 1] - self.starts[cells]
        near = cells[: max(PROBES, int(np.searchsorted(np.cumsum(sizes), k)) + 1)]
        spans = [slice(self.starts[cell], self.starts[cell + 1]) for cell in near]
        similarities = np.concatenate([self.vectors[span] @ query for span in spans])
        kept = np.argpartition(-similarities, k - 1)[:k]
        kept = kept[np.argsort(-similarities[kept], kind="stable")]
        rows = np.concatenate([np.arange(span.start, span.stop) for span in spans])
        return rows[kept], similarities[kept]


def top_k(queries: FloatArray, vectors: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """Rows of `vectors (n, d)` with the greatest dot product with each of `queries (q, d)`, and these products, the greatest first.

    Both `(q, min(k, n))`. Almost all of the time is the matrix product's; what is held is bounded.
    """
    k = min(k, len(vectors))
    found = np.empty((len(queries), k), dtype=np.intp)
    similarities = np.empty((len(queries), k), dtype=np.float32)
    size = max(1, BLOCK // max(1, len(vectors)))
    for start in range(0, len(queries) if k else 0, size):
        block = slice(start, start + size)
        products = queries[block] @ vectors.T
        kept = (
            products.argmax(axis=1, keepdims=True)
            if k == 1  # in an eighth of the time
            else np.argpartition(products, len(vectors) - k, axis=1)[:, -k:]
        )
        products = np.take_along_axis(products, kept, axis=1)
        order = np.argsort(-products, axis=1, kind="stable")
        found[block] = np.take_along_axis(kept, order, axis=1)
        similarities[block] = np.take_along_axis(products, order, axis=1)
    return found, similarities


def left_out(n: int, seed: int = 0) -> IntArray:
    """Up to `LEFT_OUT` of the rows 0..n-1, in order: for choices and calibration on queries that are not their own neighbours."""
    rows: IntArray = np.sort(np.random.default_rng(seed).permutation(n)[:LEFT_OUT])
    return rows


def remember(vectors: FloatArray, seed: int = 0) -> tuple[Memory, IntArray]:
    """The memory and `order (n,)`: row i of it is row `order[i]` of `vectors (n, d)`."""
    n = len(vectors)
    if n <= EXACT:
        return Memory(vectors, np.empty((0, vectors.shape[1]), np.float32), np.array([0, n], np.intp)), np.arange(n)
    import faiss

    means = faiss.Kmeans(vectors.shape[1], int(np.sqrt(n)), niter=10, spherical=True, seed=seed)
    means.train(vectors)
    centres = np.array(means.centroids, dtype=np.float32)
    cells = means.index.search(vectors, 1)[1][:, 0]
    order = np.argsort(cells, kind="stable")
    starts = np.concatenate(([0], np.cumsum(np.bincount(cells, minlength=len(centres)))))
    return Memory(vectors[order], centres, starts), order
