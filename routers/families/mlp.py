"""One small network from the query's vector to the rewards of all experts, which share its hidden layer.

    router = MlpRouter(encoder=encoder, width=64, loss="squared_error").fit(outcomes)
    router.predict(["What is 17 * 23?"])

A yardstick of the field (the MLP of RouterBench, arXiv 2403.12031, and of many after it). Cells without a reward don't count, and
the loss is against the rewards themselves, never against "which model won". Small networks overfit at a few thousand queries:
decay and early stopping are what keep this one in the race, and `linear` often wins it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter
from routers.parts.network import Network, cross_entropy, fit_network, logit, sigmoid, split_rows, squared_error

HELD_OUT = 0.1


class MlpRouter(LearnedRouter):
    """width: of the hidden layer. penalty: of the squared weights, in rows."""

    type = "mlp"
    network_: Network

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        loss: Literal["squared_error", "cross_entropy"] = "cross_entropy",
        width: Annotated[int, Field(ge=1)] = 64,
        penalty: Annotated[float, Field(ge=0)] = 0.3,
        seed: int = 0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.loss = loss
        self.width = width
        self.penalty = penalty
        self.seed = seed

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        squared = self.loss == "squared_error"
        loss = (squared_error if squared else cross_entropy)(table.rewards, table.weights)
        constant = table.means if squared else logit(table.means)
        start = Network.start(vectors.shape[1], self.width, constant, self.seed)
        parts = split_rows(len(table), HELD_OUT, self.seed)
        self.network_ = fit_network(start, vectors, loss, parts, penalty=self.penalty)

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        outputs = self.network_(vectors)
        return sigmoid(outputs) if self.loss == "cross_entropy" else outputs
