"""Experts rate their own fitness for a query, and the one that rates itself best answers.

    router = SelfSelectRouter(experts=cards).fit()
    router.predict_assessed(assessments)        # (n_queries, n_experts, 2) -> (n_queries, n_experts) expected rewards

Autonomy-of-Experts (arXiv 2501.13074) ranks experts by the norm of their activations over the input. Whole models behind an API
show none, so two signals stand in (a proxy): how likely the expert holds the query's text, in nats per byte, and how likely it
is to say yes when it is asked whether it can answer well. Likelihoods count by byte, because experts cut texts into different
tokens, and against the mean over experts, because some texts are unlikely for all.

Without outcomes the two add up by fixed weights. With outcomes and an `assess` they are weighed by logistic regression on soft
rewards, each expert against its own habit: some always say yes. Not here: asking (`orchestrator/routing/assessing.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Self

import numpy as np
from pydantic import Field

from routers.base import ExpertCard, FloatArray, Outcome
from routers.data.table import RewardTable

SIGNALS = ("likelihood", "yes")
"""What an assessment holds: nats per byte, at most 0, and a probability. NaN where the expert does not say."""
LIKELIHOOD_SCALE = 0.1
"""Nats per byte that count as much as one of the log-odds of yes, before anything was learned."""
MAX_LOG_ODDS = 4.0

Assess = Callable[[Sequence[str], Sequence[str]], FloatArray]
"""Queries and experts to assessments, `(n_queries, n_experts, 2)`."""


class SelfSelectRouter:
    """assess: how experts are asked, for `predict` and `fit`; without it `predict` knows the experts' mean rewards alone.

    An expert that says nothing of itself is worth 0 before there are outcomes, and its mean reward then. penalty: of the squared
    weights, in rows.
    """

    type = "self_select"
    needs_encoder = False
    experts_: tuple[str, ...]
    intercepts_: FloatArray
    """`(n_experts,)`: log-odds of the reward of an expert that rates itself as it always does."""
    weights_: FloatArray
    """`(2,)`, of the signals."""
    habits_: FloatArray
    """`(n_experts, 2)`: the signals' means."""
    silent_: FloatArray
    """`(n_experts,)`: rewards of experts that say nothing."""

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        penalty: Annotated[float, Field(gt=0)] = 5.0,
        assess: Assess | None = None,
    ) -> None:
        self.experts = experts
        self.penalty = penalty
        self.assess = assess

    def fit(self, outcomes: Sequence[Outcome] = ()) -> Self:
        """Raises ValueError without any expert, and for a reward that is no number from 0 to 1."""
        table = RewardTable.of(outcomes, [card.name for card in self.experts] or None)
        return self.fit_assessed(table, self._assessed(table.queries, table.experts))

    def fit_assessed(self, table: RewardTable, assessments: FloatArray) -> Self:
        """`fit` with the experts' assessments `(n_queries, n_experts, 2)` at hand."""
        if not table.experts:
            raise ValueError("a router of type 'self_select' needs experts, or outcomes of some")
        self.experts_ = table.experts
        num_experts = len(table.experts)
        self.intercepts_, self.silent_ = (np.zeros(num_experts, dtype=np.float32) for _ in range(2))
        self.weights_ = np.array([1.0 / LIKELIHOOD_SCALE, 1.0], dtype=np.float32)
        self.habits_ = np.zeros((num_experts, len(SIGNALS)), dtype=np.float32)
        if len(table):
            self._calibrate(table, _signals(assessments))
        return self

    def predict(self, queries: Sequence[str]) -> FloatArray:
        """Shape `(len(queries), len(experts_))`, 0..1."""
        return self.predict_assessed(self._assessed(queries, self.experts_))

    def predict_assessed(self, assessments: FloatArray) -> FloatArray:
        """Expected reward `(n_queries, n_experts)` by assessments `(n_queries, n_experts, 2)`."""
        signals = _signals(assessments)
        says_something = ~np.isnan(signals).all(axis=2)
        odds = np.nan_to_num(signals - self.habits_) @ self.weights_ + self.intercepts_
        rewards: FloatArray = np.where(says_something, 1.0 / (1.0 + np.exp(-odds)), self.silent_).astype(np.float32)
        return rewards

    def add_expert(self, card: ExpertCard, outcomes: Sequence[Outcome] = ()) -> None:
        """Ask one more expert. It rates itself like any other, so outcomes count only for when it says nothing.

        Raises ValueError for one that is there already.
        """
        if card.name in self.experts_:
            raise ValueError(f"the router knows the expert '{card.name}' already")
        table = RewardTable.of(outcomes, [card.name])
        self.experts_ = (*self.experts_, card.name)
        self.intercepts_ = np.append(self.intercepts_, self.intercepts_.mean()).astype(np.float32)
        self.habits_ = np.vstack([self.habits_, self.habits_.mean(axis=0)]).astype(np.float32)
        self.silent_ = np.append(self.silent_, table.means[0] if len(table) else 0.0).astype(np.float32)

    def _assessed(self, queries: Sequence[str], experts: Sequence[str]) -> FloatArray:
        if self.assess is None or not queries:
            return np.full((len(queries), len(experts), len(SIGNALS)), np.nan, dtype=np.float32)
        return self.assess(queries, experts)

    def _calibrate(self, table: RewardTable, signals: FloatArray) -> None:
        """Logistic regression on `(expert, likelihood, yes)`, where each reward is as much of a 1 and of a 0."""
        from sklearn.linear_model import LogisticRegression

        self.silent_ = table.means
        known = ~np.isnan(signals)
        counts = np.maximum(known.sum(axis=0), 1)
        self.habits_ = (np.where(known, signals, 0.0).sum(axis=0) / counts).astype(np.float32)
        rows, columns = np.nonzero(table.tried & known.any(axis=2))
        if not len(rows):
            return
        own = np.eye(len(table.experts), dtype=np.float32)[columns]
        unusual = np.nan_to_num(signals - self.habits_)[rows, columns]
        scale = np.maximum(unusual.std(axis=0), 1e-6)
        features = np.hstack([own, unusual / scale])
        rewards, weights = table.rewards[rows, columns], table.weights[rows, columns]
        targets = np.repeat([1, 0], len(rows))
        shares = np.concatenate([weights * rewards, weights * (1.0 - rewards)])
        told = shares > 0
        if len(set(targets[told])) < 2:
            return
        model = LogisticRegression(C=1.0 / self.penalty, max_iter=500)
        model.fit(np.vstack([features, features])[told], targets[told], sample_weight=shares[told])
        self.intercepts_ = (model.coef_[0, : len(self.experts_)] + model.intercept_[0]).astype(np.float32)
        self.weights_ = (model.coef_[0, len(self.experts_) :] / scale).astype(np.float32)


def _signals(assessments: FloatArray) -> FloatArray:
    """Likelihood above the mean over the experts that tell it, and the log-odds of yes."""
    likelihood, yes = assessments[..., 0], assessments[..., 1]
    known = ~np.isnan(likelihood)
    sums = np.where(known, likelihood, 0.0).sum(axis=1, keepdims=True)
    above = likelihood - sums / np.maximum(known.sum(axis=1, keepdims=True), 1)
    with np.errstate(divide="ignore"):
        odds = np.clip(np.log(yes) - np.log1p(-yes), -MAX_LOG_ODDS, MAX_LOG_ODDS)
    signals: FloatArray = np.stack([above, odds], axis=2).astype(np.float32)
    return signals
