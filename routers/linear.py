"""One linear model per expert over the query's vector: ridge regression of its reward, or logistic regression on soft rewards.

    router = LinearRouter(encoder=encoder, link="identity", penalty=1.0).fit(outcomes)
    router.predict(["What is 17 * 23?"])

The plainest router that reads the query, and a yardstick for the others. Each expert's own rewards are all it learns from, so
outcomes may have gaps. Hoerl and Kennard 1970 for ridge; with `link="logit"` the loss is cross-entropy against the reward itself,
never against "which model won", because ties make such labels worthless.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from routers.base import Encoder, ExpertCard, FloatArray
from routers.learned import LearnedRouter
from routers.table import RewardTable


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
        penalty: float = 10.0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.link = link
        self.penalty = penalty

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        fit = _ridge if self.link == "identity" else _logistic
        columns = [
            fit(vectors[tried], table.rewards[tried, i], table.weights[tried, i], self.penalty)
            if tried.any()
            else np.zeros(vectors.shape[1] + 1)
            for i, tried in enumerate(table.tried.T)
        ]
        learned = np.stack(columns, axis=1).astype(np.float32)
        self.weights_, self.intercepts_ = learned[:-1], learned[-1]

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        scores: FloatArray = vectors @ self.weights_ + self.intercepts_
        if self.link == "identity":
            return scores
        shares: FloatArray = np.exp(-np.logaddexp(np.float32(0.0), -scores))
        return shares


def _ridge(vectors: FloatArray, rewards: FloatArray, weights: FloatArray, penalty: float) -> FloatArray:
    """Coefficients `(dimensions + 1,)`, the intercept last."""
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=penalty).fit(vectors, rewards, sample_weight=weights)
    return np.append(model.coef_, model.intercept_).astype(np.float32)


def _logistic(vectors: FloatArray, rewards: FloatArray, weights: FloatArray, penalty: float) -> FloatArray:
    """The same for cross-entropy: each query counts as a success by its reward, and as a failure by the rest."""
    from sklearn.linear_model import LogisticRegression

    labels = np.repeat([1, 0], len(rewards))
    shares = np.concatenate([weights * rewards, weights * (1.0 - rewards)])
    if min(shares[labels == 1].sum(), shares[labels == 0].sum()) == 0.0:  # one class alone
        constant = np.zeros(vectors.shape[1] + 1, dtype=np.float32)
        constant[-1] = 10.0 if rewards.any() else -10.0
        return constant
    model = LogisticRegression(C=1.0 / penalty, max_iter=500).fit(
        np.tile(vectors, (2, 1)), labels, sample_weight=shares
    )
    return np.append(model.coef_, model.intercept_).astype(np.float32)
