"""Clusters of queries, and how good each expert is in each: the recipe of Avengers, with soft borders and shrunk means.

    router = ClusterRouter(encoder=encoder, clusters=32).fit(outcomes)
    router.predict(["What is 17 * 23?"])

Queries are clustered by k-means on their vectors. An expert's reward for a query is its mean reward in the clusters nearest to
it, weighted by a softmax of closeness (Avengers, arXiv 2505.19797; Avengers-Pro, arXiv 2508.12631). Beyond the papers, a cluster's
means are drawn towards the overall ones by `pseudo_rows`, and the number of clusters is chosen by cross-validation unless it is
given. With `nearest=1` and `pseudo_rows` near 0 it is the papers' recipe. Their voting is an aggregator's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter
from routers.parts.regions import one_hot, shrunk_means
from routers.parts.tags import mined_tags
from routers.parts.tuning import best_setting

COUNTS = (1, 8, 16, 32, 64)
"""Numbers of clusters to choose from."""
ROWS_PER_CLUSTER = 5
"""There are never more clusters than one per so many queries."""


class ClusterRouter(LearnedRouter):
    """clusters: how many, None to choose. nearest: how many of them speak for a query. sharpness: of the softmax over them.

    pseudo_rows: how many rows the overall means count for in each cluster.
    """

    type = "cluster"
    has_std = True
    centres_: FloatArray
    """`(n_clusters, dimensions)`."""
    means_: FloatArray
    """`(n_clusters, n_experts)`, as `errors_`."""
    errors_: FloatArray

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        clusters: Annotated[int, Field(ge=1)] | None = None,
        nearest: Annotated[int, Field(ge=1)] = 5,
        sharpness: Annotated[float, Field(ge=0)] = 20.0,
        pseudo_rows: Annotated[float, Field(gt=0)] = 20.0,
        seed: int = 0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.clusters = clusters
        self.nearest = nearest
        self.sharpness = sharpness
        self.pseudo_rows = pseudo_rows
        self.seed = seed

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        count = self.clusters or best_setting(
            COUNTS, self._predicted, table, vectors, default=COUNTS[1], seed=self.seed
        )
        self._fit(count, table, vectors)

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        rewards: FloatArray = self._closeness(vectors) @ self.means_
        return rewards

    def std_vectors(self, vectors: FloatArray) -> FloatArray:
        errors: FloatArray = np.sqrt(self._closeness(vectors) ** 2 @ self.errors_**2)
        return errors

    def _fit(self, count: int, table: RewardTable, vectors: FloatArray) -> None:
        labels = mined_tags(vectors, max(1, min(count, len(table) // ROWS_PER_CLUSTER)), self.seed)
        memberships = one_hot(labels)
        self.centres_ = memberships.T @ vectors / memberships.sum(axis=0)[:, None]
        self.means_, self.errors_ = shrunk_means(table, memberships, table.means, self.pseudo_rows)

    def _predicted(self, count: int, table: RewardTable, vectors: FloatArray, asked: FloatArray) -> FloatArray:
        self._fit(count, table, vectors)
        return self.predict_vectors(asked)

    def _closeness(self, vectors: FloatArray) -> FloatArray:
        """Shares of the clusters `(n_queries, n_clusters)`; half the squared distance is what the softmax is of."""
        scores = self.sharpness * (vectors @ self.centres_.T - 0.5 * (self.centres_**2).sum(axis=1))
        if self.nearest < scores.shape[1]:
            least = np.partition(scores, -self.nearest, axis=1)[:, -self.nearest, None]
            scores = np.where(scores >= least, scores, -np.inf)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        closeness: FloatArray = shares / shares.sum(axis=1, keepdims=True)
        return closeness
