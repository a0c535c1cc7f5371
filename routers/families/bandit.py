"""Learning online: linear regression per expert that starts from offline outcomes and takes every reward that comes in.

    router = BanditRouter(encoder=encoder, exploration="bonus").fit(outcomes)
    router.update(["What is 17 * 23?"], ["calculator"], [1.0], [1.0])       # for one answer: reward, propensity
    router.predict(["What is 19 * 21?"])

An expert's reward is taken to be linear in the query's leading principal components, with a normal posterior over the weights:
LinUCB (Li et al. 2010, arXiv 1003.0146) adds `width` standard errors to what is expected, linear Thompson sampling (Agrawal and
Goyal 2013, arXiv 1209.3352) as many times a draw. The prior is offline outcomes, raised to a power so that they count for no more
than `prior_rows` (power prior: Ibrahim and Chen 2000). Exploration is safe at every step (stage-wise conservative linear bandits:
Moradipari et al. 2020, arXiv 2010.00081; conservative ones: Kazerouni et al. 2017, arXiv 1611.06426): only an expert whose lower
bound is near or above that of the best single expert is explored. Nothing is forgotten: rewards that drift need a new artifact.
Not here: where rewards come from (`orchestrator/routing/learning.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray, Outcome
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter

Doubles = NDArray[np.float64]

LEAST_VARIANCE = 0.01
"""Of one reward: experts that never failed yet may."""
MEAN_ROWS = 10.0
"""Rewards that an expert's prior mean counts for: the mean of all experts or, for a newcomer, of those it is described like."""


class BanditRouter(LearnedRouter):
    """components: of the queries' vectors, at most. penalty: of squared weights, in rows.

    prior_rows: how many rewards all offline outcomes of an expert may count for; by default as many as they are.
    exploration: what is added to expected reward, scaled by `width`: nothing, the standard error, or a normal draw of it, one per
    query and expert that changes with every update. margin: how far an explored expert's lower bound may lie below the best
    single expert's.
    """

    type = "bandit"
    has_std = True
    centre_: FloatArray
    axes_: FloatArray
    """`(dimensions, n_components)`."""
    weights_: Doubles
    """`(n_experts, n_components + 1)`, the intercept first: what is expected of the mean query."""
    covariances_: Doubles
    """`(n_experts, n_components + 1, n_components + 1)`, for a noise of 1."""
    variances_: Doubles
    """`(n_experts,)`, of one reward about what was expected."""
    num_updates_: int

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        components: Annotated[int, Field(ge=1)] = 64,
        penalty: Annotated[float, Field(gt=0)] = 30.0,
        prior_rows: Annotated[float, Field(ge=0)] | None = None,
        exploration: Literal["none", "bonus", "draw"] = "none",
        width: Annotated[float, Field(gt=0)] = 1.0,
        margin: Annotated[float, Field(ge=0)] = 0.1,
        seed: int = 0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.components = components
        self.penalty = penalty
        self.prior_rows = prior_rows
        self.exploration = exploration
        self.width = width
        self.margin = margin
        self.seed = seed

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        self.centre_ = vectors.mean(axis=0)
        self.axes_ = _principal_axes(vectors - self.centre_, self.components)
        features = self._features(vectors)
        counts = np.where(table.tried, table.weights, 0.0).astype(np.float64)
        rewards = np.nan_to_num(table.rewards).astype(np.float64)
        overall = float((counts * rewards).sum() / counts.sum())
        posteriors = [self._posterior(features, *columns, overall) for columns in zip(counts.T, rewards.T, strict=True)]
        self.weights_ = np.stack([weights for weights, _ in posteriors])
        self.covariances_ = np.stack([covariance for _, covariance in posteriors])
        squares = (counts * (rewards - features @ self.weights_.T) ** 2).sum(axis=0)
        self.variances_ = np.maximum(squares / np.maximum(counts.sum(axis=0), 1.0), LEAST_VARIANCE)
        self.num_updates_ = 0

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        """Expected reward, with what exploration adds; a row above 1 is lowered as a whole, so that its order stays."""
        features = self._features(vectors)
        scores = features @ self.weights_.T
        if self.exploration != "none":
            errors = self.width * self._errors(features)
            lower, best = scores - errors, int(self.weights_[:, 0].argmax())
            is_safe = lower >= lower[:, best, None] - self.margin
            scores = scores + np.where(is_safe, errors * self._signs(vectors), 0.0)
            scores -= np.maximum(scores.max(axis=1, keepdims=True) - 1.0, 0.0)
        return scores.astype(np.float32)

    def std_vectors(self, vectors: FloatArray) -> FloatArray:
        return self._errors(self._features(vectors)).astype(np.float32)

    def update(
        self, queries: Sequence[str], experts: Sequence[str], rewards: Sequence[float], propensities: Sequence[float]
    ) -> None:
        """Learn from one reward (0..1) per query and expert, and the probability with which that expert was chosen.

        What is expected afterwards does not depend on their order, nor on how they were split into calls; nor on propensities,
        for given the query, a linear model learns the same from whoever was chosen. Raises ValueError, and learns from none
        of them, for an unknown expert, a reward or a propensity outside 0..1, and sequences that differ in length.
        """
        for _, expert, reward, propensity in zip(queries, experts, rewards, propensities, strict=True):
            if expert not in self.fitted_experts_:
                raise ValueError(f"unknown expert '{expert}', expected one of {', '.join(self.fitted_experts_)}")
            if not (0.0 <= reward <= 1.0 and 0.0 <= propensity <= 1.0):
                raise ValueError(f"expected a reward and a propensity from 0 to 1, got {reward} and {propensity}")
        if queries:
            self.update_encoded(self.encode(queries), experts, rewards)

    def update_encoded(self, vectors: FloatArray, experts: Sequence[str], rewards: Sequence[float]) -> None:
        """`update` with the queries' vectors at hand, and nothing checked."""
        columns = [self.fitted_experts_.index(expert) for expert in experts]
        self._learn(self._features(vectors), columns, rewards, [1.0] * len(columns))

    def add_expert(self, card: ExpertCard, outcomes: Sequence[Outcome] = ()) -> None:
        """It starts as what its description is like, which counts for `MEAN_ROWS`, and learns from outcomes and updates."""
        if card.name in self.experts_:
            raise ValueError(f"the router knows the expert '{card.name}' already")
        likeness = self._likeness(card).astype(np.float64)
        self.weights_ = np.vstack([self.weights_, likeness @ self.weights_])
        self.covariances_ = np.concatenate([self.covariances_, np.diag(1.0 / self._prior_precisions())[None]])
        self.variances_ = np.append(self.variances_, self.variances_.mean())
        self.fitted_experts_ = (*self.fitted_experts_, card.name)
        tried = [outcome for outcome in outcomes if card.name in outcome.rewards]
        if tried:
            table = RewardTable.of(tried, [card.name])
            rows, columns = self._features(self.encode(table.queries)), [len(self.weights_) - 1] * len(table)
            self._learn(rows, columns, table.rewards[:, 0].tolist(), table.weights[:, 0].tolist())

    def _features(self, vectors: FloatArray) -> Doubles:
        """`(n, n_components + 1)`: a constant, then the components."""
        return np.column_stack([np.ones(len(vectors)), (vectors - self.centre_) @ self.axes_]).astype(np.float64)

    def _prior_precisions(self) -> Doubles:
        """`(n_components + 1,)`: of the weights, before any reward."""
        return np.append(MEAN_ROWS, np.full(self.axes_.shape[1], self.penalty))

    def _posterior(
        self, features: Doubles, counts: Doubles, rewards: Doubles, overall: float
    ) -> tuple[Doubles, Doubles]:
        """One expert's weights and their covariance, from offline outcomes."""
        total, prior = float(counts.sum()), self._prior_precisions()
        power = 1.0 if self.prior_rows is None or not total else min(1.0, self.prior_rows / total)
        counts = power * counts
        precision: Doubles = np.diag(prior) + (features.T * counts) @ features
        covariance = np.linalg.inv(precision).astype(np.float64)
        moments = features.T @ (counts * rewards)
        moments[0] += prior[0] * overall
        return covariance @ moments, covariance

    def _learn(self, rows: Doubles, columns: Sequence[int], rewards: Sequence[float], weights: Sequence[float]) -> None:
        """The normal posterior given one more reward, row by row (Sherman and Morrison 1950)."""
        # A loaded artifact's arrays are read-only.
        self.weights_, self.covariances_ = self.weights_.copy(), self.covariances_.copy()
        for row, column, reward, weight in zip(rows, columns, rewards, weights, strict=True):
            spread = self.covariances_[column] @ row
            gain = spread / (1.0 / weight + row @ spread)
            self.weights_[column] += gain * (reward - row @ self.weights_[column])
            self.covariances_[column] -= np.outer(gain, spread)
        self.num_updates_ += len(rows)

    def _errors(self, features: Doubles) -> Doubles:
        """Standard errors of what is expected, `(n, n_experts)`."""
        squares = [((features @ covariance) * features).sum(axis=1) for covariance in self.covariances_]
        errors: Doubles = np.sqrt(self.variances_ * np.maximum(np.stack(squares, axis=1), 0.0))
        return errors

    def _signs(self, vectors: FloatArray) -> Doubles | float:
        """What an error is multiplied by: 1, or a standard normal draw that only query, seed and number of updates determine."""
        if self.exploration == "bonus":
            return 1.0
        return np.stack([self._dice(vector).standard_normal(len(self.weights_)) for vector in vectors])

    def _dice(self, vector: FloatArray) -> np.random.Generator:
        digest = hashlib.blake2b(vector.tobytes(), digest_size=8).digest()
        return np.random.default_rng([self.seed, self.num_updates_, int.from_bytes(digest, "little")])


def _principal_axes(centred: FloatArray, count: int) -> FloatArray:
    """`(dimensions, n)`: at most `count` directions, and none without any spread."""
    from sklearn.utils.extmath import randomized_svd

    count = min(count, *centred.shape)
    _, spreads, axes = randomized_svd(centred, count, random_state=0)
    found: FloatArray = np.ascontiguousarray(axes[spreads > 1e-6].T, dtype=np.float32)
    return found
