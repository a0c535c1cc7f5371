"""Pilot embeddings: every expert has a point in each group of queries, where it does well, and the nearest points decide.

    router = RetrieverRouter(encoder=encoder).fit(outcomes)             # of embedding experts, or of any others
    router.add_expert(ExpertCard("newcomer"), its_outcomes)             # its pilots come in, nobody else's move
    router.predict(["Wie funktioniert eine Wärmepumpe?"])

RouterRetriever, arXiv 2409.02685: a pilot is the mean vector of those queries of a group that an expert is the best for, and the
expert with the highest mean similarity over its pilots is taken. There every expert is at home in one group. Where several are
good in each, that loses to the best single expert, so here a pilot counts by how much of its group's reward is its expert's, and
by `exp(sharpness * cosine)`: a mixture of von Mises-Fisher distributions (Banerjee et al. 2005). Queries on which experts tie pull
none of their pilots ahead. An expert's share becomes expected reward by `routers/parts/calibration.py`, which keeps the ranking.
Not here: that a collection stays with its expert (`orchestrator/routing/planning.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray, Outcome
from routers.data.splits import fold_numbers, normalised
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter
from routers.parts.calibration import RewardScale, fit_scale
from routers.parts.categories import category_labels
from routers.parts.regions import one_hot
from routers.parts.tags import Tags
from routers.parts.tuning import best_setting

PRIOR_ROWS = 10.0
"""Queries that the prior of a pilot counts for in its group: its expert's over all groups or, for a newcomer, those it is like."""
SHARPNESS = (8.0, 4.0, 2.0, 16.0)
"""What to choose from; the first where all are equal."""
FOLDS = 3
"""Of the training queries; rewards are calibrated on one that no pilot was made of."""


class RetrieverRouter(LearnedRouter):
    """groups: how many to find by k-means; None for the outcomes' own.

    sharpness: of closeness, 0 for shares alone; None to choose by cross-validation. seed: of clusters and folds.
    """

    type = "retriever"
    centres_: FloatArray
    """`(n_groups, dimensions)`, of length 1: the mean direction of each group's queries."""
    sizes_: FloatArray
    """`(n_groups,)`: share of the queries."""
    pilots_: FloatArray
    """`(n_experts, n_groups, dimensions)`, of length 1."""
    shares_: FloatArray
    """`(n_experts, n_groups)`: how much of what all experts earn in the group is this one's."""
    sharpness_: float
    scale_: RewardScale

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        groups: Annotated[int, Field(ge=1)] | None = None,
        sharpness: Annotated[float, Field(ge=0)] | None = None,
        seed: int = 0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.groups = groups
        self.sharpness = sharpness
        self.seed = seed

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        chosen = self.sharpness
        if chosen is None:
            chosen = best_setting(SHARPNESS, self._predicted, table, vectors, default=SHARPNESS[0], seed=self.seed)
        self._fit(chosen, table, vectors)

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        return self.scale_(vectors, self._scores(vectors))

    def add_expert(self, card: ExpertCard, outcomes: Sequence[Outcome] = ()) -> None:
        """Its pilots are a mixture of those it is described like, and move to its examples as these come in."""
        if card.name in self.experts_:
            raise ValueError(f"the router knows the expert '{card.name}' already")
        likeness = self._likeness(card)
        shares, directions = likeness @ self.shares_, np.tensordot(likeness, self.pilots_, axes=1)
        votes = np.zeros((0, 1), dtype=np.float32)
        vectors = np.zeros((0, self.centres_.shape[1]), dtype=np.float32)
        if tried := [outcome for outcome in outcomes if card.name in outcome.rewards]:
            table = RewardTable.of(tried, [*self.fitted_experts_, card.name])
            vectors = self.encode(table.queries)
            known = np.where(table.tried[:, :-1], table.rewards[:, :-1], self.predict_encoded(vectors))
            votes = _votes(table.rewards[:, -1:], known)
        memberships = one_hot((vectors @ self.centres_.T).argmax(axis=1), len(self.centres_))
        pilots, shares = _pilots(
            votes, np.ones_like(votes), vectors, memberships, prior=shares[None], directions=directions[None]
        )
        self.pilots_, self.shares_ = np.concatenate([self.pilots_, pilots]), np.concatenate([self.shares_, shares])
        self.fitted_experts_ = (*self.fitted_experts_, card.name)

    def _predicted(self, sharpness: float, table: RewardTable, vectors: FloatArray, asked: FloatArray) -> FloatArray:
        self._fit(sharpness, table, vectors)
        return self.predict_vectors(asked)

    def _fit(self, sharpness: float, table: RewardTable, vectors: FloatArray) -> None:
        self.sharpness_ = sharpness
        labels = category_labels(table, vectors, self.groups, self.seed)
        rows = _held_out(table, self.seed)
        if not rows.all():
            self._make_pilots(table.rows(~rows), vectors[~rows], labels[~rows], int(labels.max()) + 1)
            scores = self._scores(vectors)
        self._make_pilots(table, vectors, labels, int(labels.max()) + 1)
        if rows.all():
            scores = self._scores(vectors)
        self.scale_ = fit_scale(table, vectors, scores, rows)

    def _make_pilots(self, table: RewardTable, vectors: FloatArray, labels: Tags, num_groups: int) -> None:
        memberships = one_hot(labels, num_groups)
        weights = np.where(table.tried, table.weights, np.float32(0.0))
        votes = weights * _votes(np.nan_to_num(table.rewards), np.where(table.tried, table.rewards, table.means))
        self.centres_ = _directions(memberships.T @ vectors)
        self.sizes_ = memberships.mean(axis=0)
        overall = votes.sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-9)
        self.pilots_, self.shares_ = _pilots(
            votes, weights, vectors, memberships, prior=overall[:, None], directions=self.centres_[None]
        )

    def _scores(self, vectors: FloatArray) -> FloatArray:
        """`(n_queries, n_experts)`: each expert's share of the query, 0..1; rows sum to 1."""
        cosines = vectors @ self.pilots_.reshape(-1, self.pilots_.shape[2]).T
        closeness = np.exp(np.float32(self.sharpness_) * (cosines - 1.0)) * (self.sizes_ * self.shares_).ravel()
        scores = closeness.reshape(len(vectors), *self.shares_.shape).sum(axis=2)
        shares: FloatArray = scores / np.maximum(scores.sum(axis=1, keepdims=True), np.float32(1e-9))
        return shares


def _held_out(table: RewardTable, seed: int) -> NDArray[np.bool_]:
    """`(n_queries,)`: those to calibrate on: a third, or all where there are fewer than `FOLDS` texts."""
    if len(set(map(normalised, table.queries))) < FOLDS:
        return np.ones(len(table), dtype=np.bool_)
    held_out: NDArray[np.bool_] = fold_numbers(table, FOLDS, seed) == 0
    return held_out


def _votes(rewards: FloatArray, known: FloatArray) -> FloatArray:
    """`(n, k)`: what part each of `rewards (n, k)` is of what the known experts earn on the query, at most all."""
    votes: FloatArray = rewards / np.maximum(np.maximum(known.sum(axis=1, keepdims=True), rewards), np.float32(1e-9))
    return votes


def _pilots(
    votes: FloatArray,
    weights: FloatArray,
    vectors: FloatArray,
    memberships: FloatArray,
    *,
    prior: FloatArray,
    directions: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Pilots `(k, n_groups, dimensions)` and shares `(k, n_groups)` of k experts.

    votes, weights: `(n, k)`. prior: their shares, and directions: their pilots, before any vote; each counts for `PRIOR_ROWS`.
    """
    pulls = np.stack([(memberships * vote[:, None]).T @ vectors for vote in votes.T])
    prior_votes = np.broadcast_to(PRIOR_ROWS * prior, pulls.shape[:2])
    shares = ((memberships.T @ votes).T + prior_votes) / ((memberships.T @ weights).T + PRIOR_ROWS)
    return _directions(pulls + prior_votes[..., None] * directions), shares.astype(np.float32)


def _directions(vectors: FloatArray) -> FloatArray:
    """Of length 1, along the last axis; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    directions: FloatArray = (vectors / np.maximum(lengths, 1e-9)).astype(np.float32)
    return directions
