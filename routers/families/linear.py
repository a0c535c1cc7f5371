"""One linear model per expert over the query's vector: ridge regression of its reward, or logistic regression on soft rewards.

    router = LinearRouter(encoder=encoder, link="identity", penalty=1.0).fit(outcomes)
    router.predict(["What is 17 * 23?"])

The plainest router that reads the query, and a yardstick for the others. Each expert's own rewards are all it learns from, so
outcomes may have gaps. Hoerl and Kennard 1970 for ridge; with `link="logit"` the loss is cross-entropy against the reward itself,
never against "which model won", because ties make such labels worthless.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter
from routers.parts.network import Network, cross_entropy, fit_network, logit, sigmoid, squared_error


class LinearRouter(LearnedRouter):
    """penalty: of the squared weights, in rows; the intercept is free."""

    type = "linear"
    weights_: FloatArray
    """`(dimensions, n_experts)`."""
    intercepts_: FloatArray

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        link: Literal["identity", "logit"] = "identity",
        penalty: Annotated[float, Field(gt=0)] = 10.0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.link = link
        self.penalty = penalty

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        """All experts at once, though none shares a weight with another; one that was never tried keeps the mean of all."""
        identity = self.link == "identity"
        loss = (squared_error if identity else cross_entropy)(table.rewards, table.weights)
        start = Network.start(vectors.shape[1], 0, table.means if identity else logit(table.means), seed=0)
        found = fit_network(start, vectors, loss, penalty=self.penalty)
        self.weights_, self.intercepts_ = found.weights[0], found.biases[0]

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        scores: FloatArray = vectors @ self.weights_ + self.intercepts_
        return scores if self.link == "identity" else sigmoid(scores)
