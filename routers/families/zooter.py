"""Rewards distilled into a routing function: a head on the query's vector learns the softmax of the experts' rewards.

    router = ZooterRouter(encoder=encoder, head="mlp", tag_share=0.5).fit(outcomes)
    router.predict(["What is 17 * 23?"])

"Routing to the Expert: Efficient Reward-guided Ensemble of Large Language Models", arXiv 2311.08692: the loss is the
Kullback-Leibler divergence from `softmax(rewards / temperature)` to the head's softmax, and because one query's rewards are
noisy, each is mixed with its tag's mean (tag-based label enhancement). The tag's mean also stands in where an expert was not
tried. Tags are the outcomes' groups, or mined by clustering; `predict` needs none. Shares become expected rewards by
`routers/parts/calibration.py`. The encoder stays as it is: `routers/training/finetune.py` trains one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter
from routers.parts.calibration import RewardScale, fit_scale
from routers.parts.network import Loss, Network, Rows, fit_network, split_rows
from routers.parts.regions import one_hot, shrunk_means
from routers.parts.tags import Tags, given_tags, mined_tags

HELD_OUT = 0.1
"""Share of the queries that says when to stop, and how far scores lie apart in rewards."""
PSEUDO_ROWS = 20.0
"""How many rows of a tag an expert's overall mean counts for."""


class ZooterRouter(LearnedRouter):
    """tag_share: of the tag's mean in each reward, 0 to 1. tags: `given` mines them too where a query has no group.

    temperature: in rewards. width: of the hidden layer of the head `mlp`. penalty: of the squared weights, in rows.
    """

    type = "zooter"
    network_: Network
    scale_: RewardScale

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        head: Literal["linear", "mlp"] = "linear",
        temperature: Annotated[float, Field(gt=0)] = 0.2,
        tag_share: Annotated[float, Field(ge=0, le=1)] = 0.85,
        tags: Literal["given", "mined"] = "given",
        clusters: Annotated[int, Field(ge=1)] = 30,
        width: Annotated[int, Field(ge=1)] = 32,
        penalty: Annotated[float, Field(ge=0)] = 1.0,
        seed: int = 0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.head = head
        self.temperature = temperature
        self.tag_share = tag_share
        self.tags = tags
        self.clusters = clusters
        self.width = width
        self.penalty = penalty
        self.seed = seed

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        shares = reward_shares(table, self._tags(table, vectors), self.tag_share, self.temperature)
        width = self.width if self.head == "mlp" else 0
        start = Network.start(vectors.shape[1], width, np.log(np.maximum(shares.mean(axis=0), 1e-30)), self.seed)
        fitted, stopping = split_rows(len(table), HELD_OUT, self.seed)
        self.network_ = fit_network(start, vectors, share_divergence(shares), (fitted, stopping), penalty=self.penalty)
        unseen = stopping if len(stopping) else fitted
        self.scale_ = fit_scale(table, vectors, self.network_(vectors), unseen)

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        return self.scale_(vectors, self.network_(vectors))

    def _tags(self, table: RewardTable, vectors: FloatArray) -> Tags:
        tags = given_tags(table) if self.tags == "given" else None
        return mined_tags(vectors, self.clusters, self.seed) if tags is None else tags


def reward_shares(table: RewardTable, tags: Tags, tag_share: float, temperature: float) -> FloatArray:
    """`(n_queries, n_experts)`, rows sum to 1: what the head is to learn (the paper's equations 5 and 7)."""
    by_tag, _ = shrunk_means(table, one_hot(tags, int(tags.max()) + 1), table.means, PSEUDO_ROWS)
    means = by_tag[tags]
    mixed = np.where(table.tried, (1.0 - tag_share) * table.rewards + tag_share * means, means) / temperature
    return _softmax(mixed.astype(np.float32))


def share_divergence(shares: FloatArray) -> Loss:
    """Kullback-Leibler divergence from the shares to the softmax of the outputs, without the shares' own entropy."""

    def loss(outputs: FloatArray, rows: Rows) -> tuple[float, FloatArray]:
        predicted = _softmax(outputs)
        value = -float(np.vdot(shares[rows], np.log(np.maximum(predicted, 1e-30))))
        return value, predicted - shares[rows]

    return loss


def _softmax(scores: FloatArray) -> FloatArray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return shares
