"""A router that shrinks: from an expert's overall mean to its mean on the predicted tag, and on to directions within the tag.

    router = TaggedRouter(encoder=encoder).fit(outcomes)
    router.predict(["What is 17 * 23?"], return_std=True)

Tags are the outcomes' groups, or clusters where there are none. A classifier over meaning and spelling gives a query its shares of
tags, and one ridge regression takes an expert's reward, less its mean, from three blocks of features: the shares, the meaning, and
the shares times the main directions of meaning. Each block is scaled by how much is to be believed of it, which is the prior of
a hierarchical Bayesian model (Lindley and Smith 1972), so what a tag has few rows for is taken from the whole. In training a
query's shares come from a classifier that has not seen it. The standard error is that of Bayesian linear regression (Rasmussen
and Williams 2006, equation 2.9).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray
from routers.data.splits import fold_numbers
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter
from routers.parts.categories import no_weights, softmax_loss
from routers.parts.network import minimise
from routers.parts.spelling import views
from routers.parts.tags import Tags, given_tags, mined_tags

WIDEST = 512
"""Dimensions of meaning that are kept as they are; of wider vectors, such as hashed ones, so many principal components."""
SPELLING_COMPONENTS = 128
DIRECTIONS = 20
MAX_INTERACTIONS = 400
MEANING_SCALE, INTERACTION_SCALE = 0.2, 0.07
"""Of the blocks, where that of the tags' shares is 1."""
FOLDS = 4
TAG_PENALTY = 0.2
"""Of half the classifier's squared weights, in rows."""
STOP_SLOPE, STOP_MEMORY = 3e-3, 10
"""The classifier stops at this slope of a row's loss, after some 20 steps and well before its optimum, which earns no more."""
MIN_TAG_ROWS = 10
"""Rarer tags count as one."""
ROWS_PER_CLUSTER, MAX_CLUSTERS = 50, 24


class TaggedRouter(LearnedRouter):
    """penalty: of the squared weights, in rows; a tag's mean is drawn towards the expert's own mean by as many rows."""

    type = "tagged"
    reads_spelling = True
    has_std = True
    reduction_: FloatArray
    """`(dimensions, WIDEST)` where meaning is wider than that, else `(dimensions, 0)`."""
    projection_: FloatArray
    """`(SPELLING, components)`."""
    centre_: FloatArray
    classifier_: FloatArray
    """`(dimensions + components + 1, n_tags)`: logits, the intercept last."""
    directions_: FloatArray
    """`(dimensions, n_directions)`, each scaled so that meaning has unit variance along it on average."""
    means_: FloatArray
    weights_: FloatArray
    """`(n_features, n_experts)`."""
    covariance_: FloatArray
    """`(n_features, n_features)`, of the weights, for a noise of 1."""
    noise_: FloatArray
    """`(n_experts,)`: variance of a reward, times how much less it was tried than `covariance_` takes it to be."""

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        penalty: Annotated[float, Field(gt=0)] = 20.0,
        seed: int = 0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.penalty = penalty
        self.seed = seed

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        whole, spelling = views(vectors)
        self.reduction_ = _principal(whole, WIDEST if whole.shape[1] > WIDEST else 0, self.seed)
        self.projection_ = _principal(spelling, SPELLING_COMPONENTS, self.seed)
        meaning = self._narrowed(whole)
        joint = np.hstack([meaning, spelling @ self.projection_])
        self.centre_ = joint.mean(axis=0)
        tags = _tags(table, whole, self.seed)
        shares, self.classifier_ = _shares_and_classifier(joint - self.centre_, tags, table)
        self.directions_ = _directions(meaning - self._meaning_centre, len(self.classifier_[0]), self.seed)
        features = self._features(meaning, shares)
        self.means_ = table.means
        self._regress(features, table)

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        rewards: FloatArray = self.means_ + self._read(vectors) @ self.weights_
        return rewards

    def std_vectors(self, vectors: FloatArray) -> FloatArray:
        features = self._read(vectors)
        leverage = np.einsum("nf,nf->n", features @ self.covariance_, features)
        std: FloatArray = np.sqrt(np.maximum(leverage, 0.0)[:, None] * self.noise_)
        return std

    @property
    def _meaning_centre(self) -> FloatArray:
        return self.centre_[: len(self.centre_) - self.projection_.shape[1]]

    def _read(self, vectors: FloatArray) -> FloatArray:
        whole, spelling = views(vectors)
        meaning = self._narrowed(whole)
        joint = np.hstack([meaning, spelling @ self.projection_]) - self.centre_
        return self._features(meaning, softmax(joint @ self.classifier_[:-1] + self.classifier_[-1]))

    def _narrowed(self, meaning: FloatArray) -> FloatArray:
        return meaning @ self.reduction_ if self.reduction_.shape[1] else meaning

    def _features(self, meaning: FloatArray, shares: FloatArray) -> FloatArray:
        """The three blocks, `(n_queries, n_features)`."""
        centred = meaning - self._meaning_centre
        local = shares[:, :, None] * (centred @ self.directions_)[:, None, :]
        blocks = [shares, MEANING_SCALE * centred, INTERACTION_SCALE * local.reshape(len(meaning), -1)]
        return np.hstack(blocks).astype(np.float32)

    def _regress(self, features: FloatArray, table: RewardTable) -> None:
        """Ridge regression of every expert's reward above its mean, in one system where all were tried on all."""
        weights = np.where(table.tried, table.weights, 0.0).astype(np.float64)
        gains = np.where(table.tried, table.rewards - self.means_, 0.0).astype(np.float64)
        wide = features.astype(np.float64)
        scaled = wide * np.sqrt(weights.mean(axis=1))[:, None]
        gram = scaled.T @ scaled  # of one array with itself, which BLAS does in half the time
        ridge = self.penalty * np.eye(len(gram))
        covariance = np.linalg.inv(gram + ridge)
        if (weights == weights[:, :1]).all():
            solved = covariance @ (wide.T @ (weights * gains))
        else:
            systems = ((wide * column[:, None], column * gain) for column, gain in zip(weights.T, gains.T, strict=True))
            solved = np.stack([np.linalg.solve(x.T @ wide + ridge, wide.T @ y) for x, y in systems], axis=1)
        left = weights * (gains - wide @ solved) ** 2
        totals = weights.sum(axis=0)
        noise = (left.sum(axis=0) + 0.25) / (totals + 1.0)
        rows = totals**2 / np.maximum((weights**2).sum(axis=0), 1e-12)  # effective ones: Kish 1965
        self.weights_, self.covariance_ = solved.astype(np.float32), covariance.astype(np.float32)
        self.noise_ = (noise * (totals.mean() + self.penalty) / (rows + self.penalty)).astype(np.float32)


def softmax(logits: FloatArray) -> FloatArray:
    """Shares `(n, m)` that sum to 1 in each row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _tags(table: RewardTable, meaning: FloatArray, seed: int) -> Tags:
    """The groups, or clusters where there are no two of them; rare ones are one."""
    tags = given_tags(table)
    if tags is None or tags.max() == 0:
        clusters = min(MAX_CLUSTERS, len(table) // ROWS_PER_CLUSTER)
        tags = mined_tags(meaning, clusters, seed) if clusters > 1 else np.zeros(len(table), dtype=np.intp)
    counts = np.bincount(tags)
    merged = np.where(counts[tags] < MIN_TAG_ROWS, len(counts), tags)
    numbered: Tags = np.unique(merged, return_inverse=True)[1]
    return numbered


def _shares_and_classifier(joint: FloatArray, tags: Tags, table: RewardTable) -> tuple[FloatArray, FloatArray]:
    """Each training query's shares by a classifier that has not seen it, and the classifier of all."""
    num_tags = int(tags.max()) + 1
    classifier = _classifier(joint, tags, num_tags)
    if num_tags == 1 or len(set(table.queries)) < FOLDS:
        return softmax(joint @ classifier[:-1] + classifier[-1]), classifier
    folds = fold_numbers(table, FOLDS)
    shares = np.zeros((len(tags), num_tags), dtype=np.float32)
    for fold in range(FOLDS):
        unseen = folds == fold
        fitted = _classifier(joint[~unseen], tags[~unseen], num_tags)
        shares[unseen] = softmax(joint[unseen] @ fitted[:-1] + fitted[-1])
    return shares, classifier


def _classifier(joint: FloatArray, tags: Tags, num_tags: int) -> FloatArray:
    """Multinomial logistic regression, `(dimensions + 1, num_tags)`; a tag that has no rows here gets no share."""
    logits = np.zeros((joint.shape[1] + 1, num_tags), dtype=np.float32)
    present, own = np.unique(tags, return_inverse=True)
    logits[-1] = np.where(np.isin(np.arange(num_tags), present), 0.0, -30.0)
    if len(present) > 1:
        loss, start = softmax_loss(joint, own, TAG_PENALTY), no_weights(joint.shape[1], len(present))
        tolerance = STOP_SLOPE / float(np.log(len(present)))
        logits[:-1, present], logits[-1, present] = minimise(loss, start, tolerance=tolerance, memory=STOP_MEMORY)
    return logits


def _directions(centred: FloatArray, num_tags: int, seed: int) -> FloatArray:
    """The main directions of meaning, fewer where there are many tags."""
    count = max(1, min(DIRECTIONS, MAX_INTERACTIONS // num_tags))
    directions = _principal(centred, count, seed)
    scale = float((centred @ directions).std(axis=0).mean())
    return directions / np.float32(scale) if scale > 0 else directions


def _principal(vectors: FloatArray, count: int, seed: int) -> FloatArray:
    """The first right singular vectors, `(dimensions, count)` or fewer."""
    from sklearn.utils.extmath import randomized_svd

    if not count:
        return np.zeros((vectors.shape[1], 0), dtype=np.float32)
    count = min(count, *vectors.shape)
    found: NDArray[np.float32] = randomized_svd(vectors, count, n_iter=2, random_state=seed)[2].T
    return np.ascontiguousarray(found, dtype=np.float32)
