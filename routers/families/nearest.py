"""Retrieval of experts: the most similar training queries vote, each for the expert that did best on it.

    router = NearestRouter(encoder=encoder, k=400).fit(outcomes)
    router.predict(["What is 17 * 23?"])

Exploring the Benefits of Training Expert Language Models over Instruction Tuning, arXiv 2302.03202: a library of training
instances, each under the name of its expert; instances of a task retrieve theirs, and the expert retrieved most often is taken.
There an instance belongs to the expert that was trained on it, here to the one with the best reward; equals share the vote,
for otherwise their order would decide. The share of votes becomes expected reward by `routers/parts/calibration.py`, which
keeps the ranking. Not here: how much better the best was, which `knn` weighs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter
from routers.parts.calibration import RewardScale, fit_scale
from routers.parts.memory import Memory, left_out, remember

BATCH = 256
"""Queries whose neighbours' votes are held at a time."""


class NearestRouter(LearnedRouter):
    """k: voters per query, at most a quarter of the training queries. seed: of cells and samples in large memories."""

    type = "nearest"
    memory_: Memory
    votes_: FloatArray
    """`(n_queries, n_experts)`: each training query's vote, times its weight."""
    scale_: RewardScale

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        k: Annotated[int, Field(ge=1)] = 400,
        seed: int = 0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.k = k
        self.seed = seed

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        self.memory_, order = remember(vectors, self.seed)
        self.votes_ = best_shares(table)[order]
        rows = left_out(len(table), self.seed)
        scores = np.zeros(table.rewards.shape, dtype=np.float32)
        scores[order[rows]] = self._counted(*self.memory_.nearest_others(rows, self._num_voters))
        self.scale_ = fit_scale(table, vectors, scores, order[rows])

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        return self.scale_(vectors, self._counted(*self.memory_.nearest(vectors, self._num_voters)))

    @property
    def _num_voters(self) -> int:
        return min(self.k, -(-len(self.votes_) // 4))

    def _counted(self, indices: NDArray[np.intp], similarities: FloatArray) -> FloatArray:
        """Each expert's share of the votes, `(q, m)`; those of minus infinite similarity don't vote."""
        counted = np.empty((len(indices), self.votes_.shape[1]), dtype=np.float32)
        for start in range(0, len(indices), BATCH):
            part = slice(start, start + BATCH)
            valid = (similarities[part] > -np.inf).astype(np.float32)
            counted[part] = (valid[:, None, :] @ self.votes_[indices[part]])[:, 0]
        shares: FloatArray = counted / np.maximum(counted.sum(axis=1, keepdims=True), 1e-9)
        return shares


def best_shares(table: RewardTable) -> FloatArray:
    """`(n_queries, n_experts)`: one vote per query, shared by its best experts of those tried, times the best cells' weight."""
    rewards = np.where(table.tried, table.rewards, -1.0)
    best = np.where(rewards == rewards.max(axis=1, keepdims=True), table.weights, 0.0)
    votes: FloatArray = (best / (best > 0.0).sum(axis=1, keepdims=True)).astype(np.float32)
    return votes
