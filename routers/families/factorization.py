"""Rewards as queries' traits times experts' abilities, so that an expert with few outcomes borrows from the others.

    router = FactorizationRouter(experts=cards, encoder=encoder).fit(outcomes)
    router.add_expert(card, thirty_outcomes)          # solves for this expert alone

RouteLLM's matrix factorisation (Ong et al., arXiv 2406.18665) for any number of experts and for soft rewards: the expected reward
is `z(x) @ v + b`, where the traits z are linear in the query's principal components, and an expert has abilities v and an offset b.
Both sides are found by ridge regressions over the cells that were tried, first the abilities and then the traits, starting from one
regression per expert; going round more often fits the training queries better and others worse. As in Nexus (Gritsch et al.,
arXiv 2408.15901) an expert's embedding is a learned projection of its description, which is all there is for one without outcomes;
with some, the embedding is the posterior mean under a normal prior around that projection, whose covariance is the known experts'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray, Outcome
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter, described
from routers.parts.components import Components, fit_components

COMPONENTS = 64
ABILITY_PENALTY = 10.0
"""Of squared abilities, in rows, for traits of variance 1."""
DESCRIPTION_PENALTY = 1.0
"""Of the projection's squared weights, in experts."""
PSEUDO_ROWS = 10.0
"""How many rows the mean over experts counts for in an offset."""
MIN_VARIANCE = 0.05
"""Of the noise: rewards of 0 and 1 are never surer than this."""
MAX_SLOPE = 3.0
"""Of a query's ease."""
FLOOR = 0.02
"""How much of the mean variance of abilities a new expert may differ by in any direction."""

Doubles = NDArray[np.float64]


class FactorizationRouter(LearnedRouter):
    """rank: number of traits. penalty: of the traits' squared weights, in rows."""

    type = "factorization"
    has_std = True
    components_: Components
    traits_: FloatArray
    """`(n_components + 1, rank)`, the last row for the intercept."""
    embeddings_: FloatArray
    """`(n_experts, rank + 1)`: abilities, then the offset."""
    covariances_: FloatArray
    """`(n_experts, rank + 1, rank + 1)`, of the embeddings."""
    projection_: FloatArray
    """`(dimensions, rank + 1)`: embeddings from descriptions' vectors; all 0 where too few experts are described."""
    prior_: FloatArray
    """`(rank + 1,)`: the embedding of a description that says nothing."""
    prior_covariance_: FloatArray
    noise_: float
    """Variance of a reward around what is expected of it."""
    compared_noise_: float
    """The same where other experts' rewards for the query are known."""
    slope_: float
    """What a query's ease counts for in an expert's reward."""

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        rank: Annotated[int, Field(ge=1)] = 8,
        penalty: Annotated[float, Field(gt=0)] = 100.0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.rank = rank
        self.penalty = penalty

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        self.components_ = fit_components(vectors, COMPONENTS)
        features = _with_ones(self.components_(vectors)).astype(np.float64)
        weights = np.where(table.tried, table.weights, 0.0).astype(np.float64)
        rewards = np.where(table.tried, table.rewards - table.means, 0.0).astype(np.float64)
        problem = _Alternation(features, rewards, weights, self.penalty)
        abilities = problem.abilities(problem.start(self.rank))
        traits = problem.traits(abilities)
        self.traits_ = traits.astype(np.float32)
        self._fit_noise(np.where(table.tried, rewards - features @ traits @ abilities.T, 0.0), weights)
        totals = weights.sum(axis=0)
        offsets = (totals * table.means + PSEUDO_ROWS * table.means.mean()) / (totals + PSEUDO_ROWS)
        self.embeddings_ = np.column_stack([abilities, offsets]).astype(np.float32)
        self._fit_prior()
        known = self._traits(vectors)
        precisions = (weights / self.noise_).astype(np.float32)
        self.covariances_ = np.stack([self._covariance(known, column) for column in precisions.T])

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        rewards: FloatArray = self._traits(vectors) @ self.embeddings_.T
        return rewards

    def std_vectors(self, vectors: FloatArray) -> FloatArray:
        traits = self._traits(vectors)
        spread = np.einsum("ni,eij,nj->ne", traits, self.covariances_, traits, optimize=True)
        errors: FloatArray = np.sqrt(np.maximum(spread, 0.0))
        return errors

    def add_expert(self, card: ExpertCard, outcomes: Sequence[Outcome] = ()) -> None:
        """From its description, and from the outcomes that have it; the other experts' embeddings stay.

        Rewards of other experts in these outcomes tell how hard the queries were, so that fewer are needed.

        Raises ValueError for one that is there already, or a reward that is no number from 0 to 1.
        """
        if card.name in self.experts_:
            raise ValueError(f"the router knows the expert '{card.name}' already")
        tried = [outcome for outcome in outcomes if card.name in outcome.rewards]
        table = RewardTable.of(tried, [*self.fitted_experts_, card.name])
        embedding, covariance = self._from_description(described(card)), self.prior_covariance_
        if len(table):
            traits = self._traits(self.encode(table.queries))
            ease, is_compared = self._ease(table, traits)
            precisions = table.weights[:, -1] / np.where(is_compared, self.compared_noise_, self.noise_)
            covariance = self._covariance(traits, precisions.astype(np.float32))
            above = table.rewards[:, -1] - self.slope_ * ease - traits @ embedding
            embedding = (embedding + covariance @ (traits.T @ (precisions * above))).astype(np.float32)
        self.fitted_experts_ = (*self.fitted_experts_, card.name)
        self.embeddings_ = np.concatenate([self.embeddings_, embedding[None]])
        self.covariances_ = np.concatenate([self.covariances_, covariance[None]])

    def _traits(self, vectors: FloatArray) -> FloatArray:
        """`(n_queries, rank + 1)`, the last 1 for the offset."""
        return _with_ones(_with_ones(self.components_(vectors)) @ self.traits_)

    def _fit_noise(self, errors: Doubles, weights: Doubles) -> None:
        """errors: `(n_queries, n_experts)`, rewards less what is expected, 0 where not tried."""
        known = weights > 0.0
        ease = (errors.sum(axis=1, keepdims=True) - errors) / known.sum(axis=1, keepdims=True)
        total = weights.sum()
        slope = float((weights * errors * ease).sum() / max((weights * ease**2).sum(), 1e-9))
        self.slope_ = min(max(slope, 0.0), MAX_SLOPE)
        self.noise_ = max(float((weights * errors**2).sum() / total), MIN_VARIANCE)
        left = errors - self.slope_ * ease
        self.compared_noise_ = max(float((weights * left**2).sum() / total), MIN_VARIANCE)

    def _ease(self, table: RewardTable, traits: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
        """How far the known experts' rewards for each query lie above what is expected, and where there are any, `(n_queries,)`."""
        known = table.tried[:, :-1]
        errors = np.where(known, table.rewards[:, :-1] - traits @ self.embeddings_.T, np.float32(0.0))
        ease: FloatArray = errors.sum(axis=1) / (known.sum(axis=1) + 1)
        return ease, np.asarray(known.any(axis=1))

    def _fit_prior(self) -> None:
        """Mean, projection and covariance of the embeddings that `fit` found."""
        embeddings = self.embeddings_.astype(np.float64)
        self.prior_ = embeddings.mean(axis=0).astype(np.float32)
        self.projection_ = np.zeros((self.components_.centre.shape[0], len(self.prior_)), dtype=np.float32)
        texts = self._texts()
        told = np.array([bool(text) for text in texts])
        if told.sum() > 2:
            vectors = self.encoder.encode([text for text in texts if text]).astype(np.float64)
            gram = vectors @ vectors.T + DESCRIPTION_PENALTY * np.eye(len(vectors))
            above = (embeddings - self.prior_)[told]
            self.projection_ = (vectors.T @ np.linalg.solve(gram, above)).astype(np.float32)
        left = embeddings - np.stack([self._from_description(text) for text in texts])
        covariance = left.T @ left / max(1, len(left) - 1)
        floor = FLOOR * np.trace(covariance) / len(covariance) + 1e-6
        self.prior_covariance_ = (covariance + floor * np.eye(len(covariance))).astype(np.float32)

    def _texts(self) -> list[str]:
        """Each fitted expert's description, empty where there is none."""
        known = {card.name: described(card) for card in self.experts}
        return [known.get(name, "") for name in self.fitted_experts_]

    def _from_description(self, text: str) -> FloatArray:
        """The embedding `(rank + 1,)` that a description promises."""
        if not text or not self.projection_.any():
            return self.prior_
        embedding: FloatArray = self.prior_ + self.encoder.encode([text])[0] @ self.projection_
        return embedding

    def _covariance(self, traits: FloatArray, precisions: FloatArray) -> FloatArray:
        """Of an embedding after outcomes of such precision, by Bayesian linear regression (Bishop 2006, equation 3.51)."""
        seen = (traits * precisions[:, None]).T @ traits
        covariance: FloatArray = np.linalg.inv(np.linalg.inv(self.prior_covariance_) + seen).astype(np.float32)
        return covariance


class _Alternation:
    """Rewards `(n_queries, n_experts)` as `features @ traits @ abilities.T`, over the cells with weight."""

    def __init__(self, features: Doubles, rewards: Doubles, weights: Doubles, penalty: float) -> None:
        self.features = features
        self.sums = features.T @ (weights * rewards)
        self.grams = np.stack([features.T @ (features * column[:, None]) for column in weights.T])
        penalties = np.full(features.shape[1], penalty)
        penalties[-1] = 1.0  # of the intercept
        self.penalties = np.diag(penalties)

    def start(self, rank: int) -> Doubles:
        """Traits `(n_features, rank)`: the singular vectors of one ridge regression per expert."""
        each = np.linalg.solve(self.grams + self.penalties, self.sums.T[:, :, None])[:, :, 0]
        traits: Doubles = np.linalg.svd(each.T, full_matrices=False)[0][:, :rank]
        return traits

    def scale(self, traits: Doubles) -> Doubles:
        """The root mean square of each trait over the queries."""
        scale: Doubles = np.sqrt(np.mean((self.features @ traits) ** 2, axis=0)) + 1e-9
        return scale

    def abilities(self, traits: Doubles) -> Doubles:
        """`(n_experts, rank)`, by ridge regression on traits of variance 1."""
        traits = traits / self.scale(traits)
        grams = traits.T @ self.grams @ traits + ABILITY_PENALTY * np.eye(traits.shape[1])
        found: Doubles = np.linalg.solve(grams, (self.sums.T @ traits)[:, :, None])[:, :, 0]
        return found

    def traits(self, abilities: Doubles) -> Doubles:
        """`(n_features, rank)`, by one ridge regression for all of them; the penalty is per unit of what an ability does."""
        rank, size = abilities.shape[1], len(self.penalties)
        products = np.einsum("ei,ej,efg->ifjg", abilities, abilities, self.grams, optimize=True)
        matrix = products.reshape(rank * size, rank * size)
        matrix += np.kron(np.eye(rank) * np.mean(abilities**2), self.penalties) + 1e-9 * np.eye(rank * size)
        found = np.linalg.solve(matrix, (self.sums @ abilities).T.ravel())
        return found.reshape(rank, size).T


def _with_ones(features: FloatArray) -> FloatArray:
    return np.column_stack([features, np.ones(len(features), dtype=np.float32)])
