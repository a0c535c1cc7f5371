"""Queries and experts in one space, learned by contrast: a query comes to lie near the experts that do well on it.

    router = ContrastiveRouter(encoder=encoder, positives=3, negatives=3).fit(outcomes)
    router.predict(["What is 17 * 23?"])

RouterDC, "Query-Based Router by Dual Contrastive Learning for Assembling Large Language Models", arXiv 2409.19886: a projection
of the query's vector and one embedding per expert, compared by cosine. The sample-LLM loss draws a query to its best experts and
away from its worst; the sample-sample loss draws it to queries of its own cluster and away from others. Several good experts
are all positives, and where rewards tie at the border the tied share the places. The paper trains the encoder too; here it
is frozen. Similarities become rewards by `routers/parts/calibration.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter
from routers.parts.calibration import RewardScale, fit_scale
from routers.parts.network import Network, Objective, Parameters, Rows, minimise, split_rows
from routers.parts.tags import Tags, mined_tags

HELD_OUT = 0.1
OTHERS = 3
"""Queries of other clusters that each query is drawn away from (the paper's H)."""
TINY = np.float32(1e-9)


class ContrastiveRouter(LearnedRouter):
    """positives, negatives: at most so many experts above and below a query's mean reward. temperature: of the cosines.

    sample_weight: of the sample-sample loss. clusters: of queries, for it. width: of the common space. Cosines don't
    know how long weights are, so nothing decays, and early stopping alone keeps it from fitting noise.
    """

    type = "contrastive"
    projection_: Network
    embeddings_: FloatArray
    """`(n_experts, width)`, of length 1."""
    scale_: RewardScale

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        positives: Annotated[int, Field(ge=1)] = 1,
        negatives: Annotated[int, Field(ge=1)] = 10,
        temperature: Annotated[float, Field(gt=0)] = 0.5,
        sample_weight: Annotated[float, Field(ge=0)] = 0.05,
        clusters: Annotated[int, Field(ge=1)] = 20,
        width: Annotated[int, Field(ge=1)] = 32,
        seed: int = 0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.positives = positives
        self.negatives = negatives
        self.temperature = temperature
        self.sample_weight = sample_weight
        self.clusters = clusters
        self.width = width
        self.seed = seed

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        fitted, stopping = split_rows(len(table), HELD_OUT, self.seed)
        objective = self._objective(table, vectors, fitted, self.sample_weight)
        unseen = self._objective(table, vectors, stopping, 0.0) if len(stopping) else None
        found = minimise(
            objective, self._start(vectors.shape[1], len(table.experts)), None if unseen is None else _value_of(unseen)
        )
        self.projection_, self.embeddings_ = Network((found[0],), (found[1],)), _unit(found[2])[0]
        rows = stopping if len(stopping) else fitted
        self.scale_ = fit_scale(table, vectors, self._similarities(vectors), rows)

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        return self.scale_(vectors, self._similarities(vectors))

    def _start(self, dimensions: int, num_experts: int) -> Parameters:
        """All queries in one place, so that features which say nothing never take part, and the experts around it."""
        around = np.random.default_rng(self.seed).standard_normal((num_experts + 1, self.width), dtype=np.float32)
        place, *experts = _unit(around)[0]
        return np.zeros((dimensions, self.width), dtype=np.float32), place, np.stack(experts)

    def _similarities(self, vectors: FloatArray) -> FloatArray:
        similarities: FloatArray = _unit(self.projection_(vectors))[0] @ self.embeddings_.T
        return similarities

    def _objective(self, table: RewardTable, vectors: FloatArray, rows: Rows, sample_weight: float) -> Objective:
        """Both losses on these rows, as a function of projection, its intercepts, and embeddings."""
        inputs = vectors[rows]
        good, bad = contrasted(table.rewards[rows], self.positives, self.negatives)
        near = None
        if sample_weight:
            near = sample_loss(mined_tags(inputs, self.clusters, self.seed), self.temperature, self.seed)

        def objective(parameters: Parameters) -> tuple[float, Parameters]:
            projection = Network(parameters[:1], parameters[1:2])
            places, lengths = _unit(projection(inputs))
            experts, norms = _unit(parameters[2])
            value, slope = expert_loss(places @ experts.T / np.float32(self.temperature), good, bad)
            slope /= np.float32(self.temperature)
            towards = slope @ experts
            if near is not None:
                own, drawn = near(places)
                value, towards = value + sample_weight * own, towards + np.float32(sample_weight) * drawn
            ours = projection.gradients(inputs, _through_unit(towards, places, lengths))
            return value, (*ours, _through_unit(slope.T @ places, experts, norms))

        return objective


def _value_of(objective: Objective) -> Callable[[Parameters], float]:
    return lambda parameters: objective(parameters)[0]


def contrasted(rewards: FloatArray, positives: int, negatives: int) -> tuple[FloatArray, FloatArray]:
    """Weights of each query's best experts and of its worst, `(n_queries, n_experts)` each; rewards have NaN where not tried.

    Best are those above the query's mean reward, at most `positives` of them; worst those below it. A query that tells no
    expert from another has neither.
    """
    tried = ~np.isnan(rewards)
    counts = np.maximum(tried.sum(axis=1, keepdims=True), 1)
    above = np.where(tried, rewards, 0.0) - np.where(tried, rewards, 0.0).sum(axis=1, keepdims=True) / counts
    above = np.where(tried, above, 0.0)
    return _places(above, positives), _places(-above, negatives)


def _places(scores: FloatArray, places: int) -> FloatArray:
    """1 for the highest positive scores of a row; those equal to the last that gets a place share what is left."""
    last = -np.sort(-scores, axis=1)[:, min(places, scores.shape[1]) - 1, None]
    eligible = scores > 1e-6
    surely, tied = eligible & (scores > last + 1e-6), eligible & (np.abs(scores - last) <= 1e-6)
    left = places - surely.sum(axis=1, keepdims=True)
    share = np.minimum(left / np.maximum(tied.sum(axis=1, keepdims=True), 1), 1.0)
    weights: FloatArray = (surely + tied * share).astype(np.float32)
    return weights


def expert_loss(similarities: FloatArray, good: FloatArray, bad: FloatArray) -> tuple[float, FloatArray]:
    """The paper's equation 3: minus the log of a positive's share against the negatives, summed, and its gradient."""
    powers = np.exp(similarities - similarities.max(axis=1, keepdims=True)) + TINY
    against = (bad * powers).sum(axis=1, keepdims=True)
    counted = np.where(against > 0.0, good, 0.0)
    shares = powers / (powers + against)
    value = -float(np.vdot(counted, np.log(shares)))
    pushed = (counted / (powers + against)).sum(axis=1, keepdims=True)
    slope: FloatArray = counted * (shares - 1.0) + bad * powers * pushed
    return value, slope


def sample_loss(tags: Tags, temperature: float, seed: int) -> Callable[[FloatArray], tuple[float, FloatArray]]:
    """The paper's equation 4 for one drawn partner of a query's own cluster and `OTHERS` of other clusters, summed."""
    from scipy.sparse import csr_array

    pairs, usable = _partners(tags, np.random.default_rng(seed))
    rows = np.repeat(np.arange(len(tags)), pairs.shape[1])

    def loss(places: FloatArray) -> tuple[float, FloatArray]:
        similarities = np.einsum("nd,npd->np", places, places[pairs]) / np.float32(temperature)
        similarities -= similarities.max(axis=1, keepdims=True)
        totals = np.exp(similarities).sum(axis=1, keepdims=True)
        value = float((np.log(totals) - similarities[:, :1])[usable].sum())
        shares = np.exp(similarities) / totals
        slope = np.where(usable[:, None], shares, 0.0)
        slope[:, 0] -= usable
        flat = (slope / temperature).astype(np.float32).ravel()
        graph = csr_array((flat, (rows, pairs.ravel())), shape=(len(tags), len(tags)))
        drawn: FloatArray = graph @ places + graph.T @ places
        return value, drawn

    return loss


def _partners(tags: Tags, dice: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Per query one other of its cluster, then `OTHERS` of other clusters; and whether there were such, else whoever."""
    order = np.argsort(tags, kind="stable")
    sizes = np.bincount(tags)
    starts = (np.cumsum(sizes) - sizes)[tags]
    size, n = sizes[tags], len(tags)
    position = np.argsort(order)
    own = starts + (position - starts + 1 + (dice.random(n) * (size - 1)).astype(np.intp)) % size
    other = (dice.random((n, OTHERS)) * (n - size)[:, None]).astype(np.intp)
    other += np.where(other >= starts[:, None], size[:, None], 0)
    return order[np.column_stack([own, np.minimum(other, n - 1)])], (size > 1) & (size < n)


def _unit(vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rows of length 1, and how long they were."""
    lengths = np.sqrt((vectors**2).sum(axis=1, keepdims=True)) + TINY
    return vectors / lengths, lengths


def _through_unit(slope: FloatArray, unit: FloatArray, lengths: FloatArray) -> FloatArray:
    """A gradient in rows of length 1, as a gradient in the rows that these were made of."""
    inner: FloatArray = (slope - unit * (slope * unit).sum(axis=1, keepdims=True)) / lengths
    return inner
