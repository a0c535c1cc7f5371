"""Test-time re-mixing: per query, weights over the experts are improved on its nearest successful training queries.

    router = NeighboursRouter(encoder=encoder, surrogate="gradient").fit(outcomes)
    router.predict(["What is 17 * 23?"])

C3PO: Critical-Layer, Core-Expert, Collaborative Pathway Optimization for Test-Time Expert Re-Mixing, arXiv 2504.07964, for whole
models. A training query on which some expert did well is a reference; its pathway is its experts' shares of the reward. A
query starts with the pathway a base router gives it (a ridge regression of the references' pathways), which one of three
surrogates then changes: `mode` moves it by mean shift to where pathways lie densely, `kernel` blends it with its neighbours'
pathways as far as that lowers their loss, `gradient` takes steps down that loss, the negative log of the reward that the
weights earn there. Weights become expected reward by `routers/parts/calibration.py`, which keeps the ranking.
Not here: critical layers and core experts, which whole models don't have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter
from routers.parts.calibration import RewardScale, fit_scale
from routers.parts.memory import Memory, left_out, remember, top_k

SUCCESS = 0.5
"""Best reward from which a training query is a reference."""
LEAST = 1e-4
"""No expert's weight is less: a gradient couldn't bring it back."""
BASE_PENALTY = 10.0
BATCH = 64
"""Queries whose neighbours' rewards are held at a time."""


class NeighboursRouter(LearnedRouter):
    """k: neighbours, at most a quarter of the references. temperature: of the softmax over their similarities.

    steps: of `gradient` and `mode`; 0 leaves what the base router gave. step_size: of `gradient`, whose steps are exponentiated,
    so that weights stay shares.
    bandwidth: of `mode`'s Gaussian kernel between pathways. seed: of cells and samples in large memories.
    """

    type = "neighbours"
    memory_: Memory
    rewards_: FloatArray
    """`(n_references, n_experts)`, with an expert's mean where it was not tried."""
    counts_: FloatArray
    """`(n_references,)`: importance weights."""
    base_weights_: FloatArray
    """`(dimensions, n_experts)`, of the base router."""
    base_intercepts_: FloatArray
    scale_: RewardScale

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        surrogate: Literal["gradient", "kernel", "mode"] = "gradient",
        k: Annotated[int, Field(ge=1)] = 400,
        temperature: Annotated[float, Field(gt=0)] = 0.25,
        steps: Annotated[int, Field(ge=0)] = 10,
        step_size: Annotated[float, Field(gt=0)] = 1.0,
        bandwidth: Annotated[float, Field(gt=0)] = 0.1,
        seed: int = 0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.surrogate = surrogate
        self.k = k
        self.temperature = temperature
        self.steps = steps
        self.step_size = step_size
        self.bandwidth = bandwidth
        self.seed = seed

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        rewards = np.where(table.tried, table.rewards, table.means)
        best = np.where(table.tried, table.rewards, 0.0).max(axis=1)
        references = np.flatnonzero(best >= min(SUCCESS, best.max()))
        self.memory_, order = remember(vectors[references], self.seed)
        self.rewards_ = rewards[references][order]
        self.counts_ = (table.weights * table.tried).max(axis=1)[references][order]
        self.base_weights_, self.base_intercepts_ = _ridge(self.memory_.vectors, pathways(self.rewards_), self.counts_)
        rows = left_out(len(references), self.seed)
        scores = np.zeros(table.rewards.shape, dtype=np.float32)
        known = references[order[rows]]
        scores[known] = self._mixed(vectors[known], *self.memory_.nearest_others(rows, self._num_neighbours))
        self.scale_ = fit_scale(table, vectors, scores, known)

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        return self.scale_(vectors, self._mixed(vectors, *self.memory_.nearest(vectors, self._num_neighbours)))

    @property
    def _num_neighbours(self) -> int:
        return min(self.k, -(-len(self.rewards_) // 4))

    def _mixed(self, vectors: FloatArray, indices: NDArray[np.intp], similarities: FloatArray) -> FloatArray:
        """Weights over the experts, `(q, m)`: the base router's, improved by the surrogate."""
        base: FloatArray = np.maximum(vectors @ self.base_weights_ + self.base_intercepts_, LEAST)
        base /= base.sum(axis=1, keepdims=True)
        if self.surrogate == "mode":
            return self._mode(base)
        improve: Callable[..., FloatArray] = self._kernel if self.surrogate == "kernel" else self._gradient
        mixed = np.empty_like(base)
        for start in range(0, len(base), BATCH):
            part = slice(start, start + BATCH)
            nearest = np.maximum(similarities[part, :1], -1.0)  # minus infinity where all have the same text
            shares = np.exp((similarities[part] - nearest) / np.float32(self.temperature))
            closeness = self.counts_[indices[part]] * shares
            closeness /= np.maximum(closeness.sum(axis=1, keepdims=True), 1e-12)
            mixed[part] = improve(base[part], closeness, self.rewards_[indices[part]])
        return mixed

    def _gradient(self, weights: FloatArray, closeness: FloatArray, rewards: FloatArray) -> FloatArray:
        """Steps down the neighbours' loss, `-sum_i closeness_i * log(weights . rewards_i)`.

        closeness: `(q, k)`. rewards: `(q, k, m)`.
        """
        mixed = weights
        for _ in range(self.steps):
            earned = np.maximum((rewards @ mixed[:, :, None])[:, :, 0], LEAST)
            downhill = ((closeness / earned)[:, None, :] @ rewards)[:, 0]
            raised = mixed * np.exp(np.float32(self.step_size) * (downhill - downhill.max(axis=1, keepdims=True)))
            mixed = np.maximum(raised / raised.sum(axis=1, keepdims=True), np.float32(LEAST))
        return mixed

    def _kernel(self, weights: FloatArray, closeness: FloatArray, rewards: FloatArray) -> FloatArray:
        """The blend of the base's weights and the neighbours' mean pathway whose loss on the neighbours is least."""
        regressed = (closeness[:, None, :] @ pathways(rewards))[:, 0]
        blends = np.stack([share * weights + (1.0 - share) * regressed for share in np.linspace(0.0, 1.0, 6)])
        earned = np.maximum(np.einsum("qkm,bqm->bqk", rewards, blends), LEAST)
        best = np.einsum("qk,bqk->bq", closeness, -np.log(earned)).argmin(axis=0)
        blend: FloatArray = blends[best, np.arange(len(weights))].astype(np.float32)
        return blend

    def _mode(self, weights: FloatArray) -> FloatArray:
        """Mean shift among the references' pathways: half way to the mean of the nearest, again and again."""
        known = pathways(self.rewards_)
        # Of all a, `2 w.a - a.a` is greatest where the distance from w is least.
        memory = np.hstack([2.0 * known, -(known**2).sum(axis=1, keepdims=True)]).astype(np.float32)
        for _ in range(self.steps):
            query = np.hstack([weights, np.ones((len(weights), 1), dtype=np.float32)])
            indices, nearness = top_k(query, memory, self._num_neighbours)
            distances = np.maximum((weights**2).sum(axis=1, keepdims=True) - nearness, 0.0)
            closeness = self.counts_[indices] * np.exp(
                (distances[:, :1] - distances) / np.float32(2.0 * self.bandwidth**2)
            )
            closeness /= closeness.sum(axis=1, keepdims=True)
            weights = 0.5 * weights + 0.5 * (closeness[:, None, :] @ known[indices])[:, 0]
        return weights


def pathways(rewards: FloatArray) -> FloatArray:
    """Each expert's share of its query's rewards `(..., n_experts)`."""
    shares: FloatArray = (rewards / np.maximum(rewards.sum(axis=-1, keepdims=True), LEAST)).astype(np.float32)
    return shares


def _ridge(vectors: FloatArray, targets: FloatArray, counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coefficients `(dimensions, n_targets)` and intercepts."""
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=BASE_PENALTY).fit(vectors, targets, sample_weight=counts)
    coefficients = np.atleast_2d(model.coef_).T
    return coefficients.astype(np.float32), np.atleast_1d(model.intercept_).astype(np.float32)
