"""Soft k nearest neighbours: an expert's reward is what it earned on similar queries, drawn towards its mean.

    router = KnnRouter(encoder=encoder).fit(outcomes)
    router.predict(["What is 17 * 23?"], return_std=True)

Of the k most similar past queries each counts by a softmax of its similarity over `temperature`, 1 for the nearest, and the
expert's mean over all counts for as many as `pseudo_rows` of the nearest. Cover and Hart 1967; as a router, Rethinking Predictive
Modeling for LLM Routing: When Simple kNN Beats Complex Learned Routers, arXiv 2505.12601. Whatever of the three is None is chosen
by leaving each training query out: of the settings that earn nearly the most, the one whose predictions are closest. Not here:
votes for the best expert alone, which `nearest` counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter
from routers.parts.memory import Memory, left_out, remember

PSEUDO_ROWS = (1000.0, 100.0, 10.0, 1.0)
TEMPERATURES = (0.25, 0.1)
KS = (400, 200, 100, 50)
"""What to choose from, the most cautious first."""
NEAR = 0.5
"""Standard errors that a setting may earn less than the best."""
PRIOR_VARIANCE = 0.25
"""Of a reward nobody has seen, the most there can be; it counts for one row."""
BATCH = 256
"""Queries whose neighbours' rewards are held at a time."""


class KnnRouter(LearnedRouter):
    """k, temperature, pseudo_rows: by default chosen from `KS`, `TEMPERATURES` and `PSEUDO_ROWS`.

    seed: of cells and samples in large memories.
    """

    type = "knn"
    has_std = True
    memory_: Memory
    gains_: FloatArray
    """`(n_queries, n_experts)`: reward above the expert's mean, times its weight; 0 where not tried."""
    counts_: FloatArray
    """`(n_queries, n_experts)`: its weight; 0 where not tried."""
    means_: FloatArray
    variances_: FloatArray
    """`(n_experts,)`, of one reward."""
    settings_: tuple[float, float, int]
    """Pseudo-rows, temperature and k."""

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        k: Annotated[int, Field(ge=1)] | None = None,
        temperature: Annotated[float, Field(gt=0)] | None = None,
        pseudo_rows: Annotated[float, Field(gt=0)] | None = None,
        seed: int = 0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.k = k
        self.temperature = temperature
        self.pseudo_rows = pseudo_rows
        self.seed = seed

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        self.memory_, order = remember(vectors, self.seed)
        self.means_ = table.means
        self.counts_ = np.where(table.tried, table.weights, 0.0).astype(np.float32)[order]
        self.gains_ = np.where(table.tried, table.rewards - table.means, 0.0).astype(np.float32)[order]
        squares = (self.counts_ * self.gains_**2).sum(axis=0)
        self.variances_ = ((squares + PRIOR_VARIANCE) / (self.counts_.sum(axis=0) + 1.0)).astype(np.float32)
        self.gains_ *= self.counts_
        self.settings_ = self._chosen_settings()

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        pseudo_rows, temperature, k = self.settings_
        gains, counts = self._local(*self.memory_.nearest(vectors, k), temperature)
        predicted: FloatArray = self.means_ + gains / (counts + np.float32(pseudo_rows))
        return predicted

    def std_vectors(self, vectors: FloatArray) -> FloatArray:
        """Of a mean over the neighbours and pseudo-rows: `sqrt(variance / (counts + pseudo_rows))`."""
        pseudo_rows, temperature, k = self.settings_
        _, counts = self._local(*self.memory_.nearest(vectors, k), temperature)
        errors: FloatArray = np.sqrt(self.variances_ / (counts + np.float32(pseudo_rows)))
        return errors

    def _chosen_settings(self) -> tuple[float, float, int]:
        """Those whose choices earn the most on training queries left out, or nearly, with the least squared error."""
        temperatures = TEMPERATURES if self.temperature is None else (self.temperature,)
        pseudo_rows = PSEUDO_ROWS if self.pseudo_rows is None else (self.pseudo_rows,)
        ks = KS if self.k is None else (self.k,)
        if len(temperatures) == len(pseudo_rows) == len(ks) == 1:
            return pseudo_rows[0], temperatures[0], ks[0]
        rows = left_out(len(self.memory_.vectors), self.seed)
        indices, similarities = self.memory_.nearest_others(rows, max(ks))
        settings, earned, errors = [], [], []
        for temperature, k in product(temperatures, ks):
            gains, counts = self._local(indices[:, :k], similarities[:, :k], temperature)
            for rows_more in pseudo_rows:
                predicted = gains / (counts + np.float32(rows_more))
                settings.append((rows_more, temperature, k))
                earned.append(self._earned(rows, predicted))
                errors.append(self._error(rows, predicted))
        best = earned[int(np.argmax([values.mean() for values in earned]))]
        behind = [(best - values).mean() - NEAR * (best - values).std() / np.sqrt(len(rows)) for values in earned]
        return settings[min(np.flatnonzero(np.array(behind) <= 0.0), key=lambda i: errors[i])]

    def _earned(self, rows: NDArray[np.intp], predicted: FloatArray) -> FloatArray:
        """`(n_rows,)`: the chosen expert's mean, and what the query gave above it, which importance weights make unbiased."""
        choice = (self.means_ + predicted).argmax(axis=1)
        earned: FloatArray = self.means_[choice] + self.gains_[rows, choice]
        return earned

    def _error(self, rows: NDArray[np.intp], predicted: FloatArray) -> float:
        """Weighted squared error, summed; weights are at least 1 where an expert was tried."""
        counts = self.counts_[rows]
        return float(((counts * predicted - self.gains_[rows]) ** 2 / np.maximum(counts, 1.0)).sum())

    def _local(
        self, indices: NDArray[np.intp], similarities: FloatArray, temperature: float
    ) -> tuple[FloatArray, FloatArray]:
        """Sums over the neighbours of gains and of counts, `(q, m)` each."""
        nearest = np.maximum(similarities[:, :1], -1.0)  # minus infinity where there is nothing but the same text
        shares = np.exp((similarities - nearest) / np.float32(temperature))
        gains = np.empty((len(indices), len(self.means_)), dtype=np.float32)
        counts = np.empty_like(gains)
        for start in range(0, len(indices), BATCH):
            part = slice(start, start + BATCH)
            share, rows = shares[part, None, :], indices[part]
            gains[part] = (share @ self.gains_[rows])[:, 0]
            counts[part] = (share @ self.counts_[rows])[:, 0]
        return gains, counts
