"""Which category a query belongs to: a classifier over vectors, learned from the outcomes' groups or from categories it mines.

    labels = category_labels(table, vectors, count=None, seed=0)      # (n_queries,) integers: the groups
    classifier = fit_classifier(vectors, labels)
    classifier(vectors)                                               # (n_queries, n_categories): shares that sum to 1
    held_out_shares(table, vectors, labels, seed=0)                   # the same, each query classified without its fold

Multinomial logistic regression. Not here: what experts earn in a category (`routers/parts/regions.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from routers.base import FloatArray
from routers.data.splits import fold_numbers
from routers.data.table import RewardTable
from routers.parts.network import Objective, Parameters, minimise
from routers.parts.tags import Tags, given_tags, mined_tags
from routers.parts.tuning import FOLDS

MINED = 16
"""How many categories are mined where none are given."""
MIN_ROWS = 5
"""There are never more categories than one per so many queries."""
PENALTY = 0.1
"""Of half the squared weights, in rows."""
CURVATURE = 0.005
"""Of the loss of a row in one category's score, share * (1 - share), roughly as it is at the optimum. Speed depends on it alone."""


@dataclass(frozen=True)
class Classifier:
    """weights: `(dimensions, n_categories)`. intercepts: `(n_categories,)`."""

    weights: FloatArray
    intercepts: FloatArray

    def __call__(self, vectors: FloatArray) -> FloatArray:
        """Shares `(n_queries, n_categories)`."""
        scores = vectors @ self.weights + self.intercepts
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        normalised: FloatArray = shares / shares.sum(axis=1, keepdims=True)
        return normalised


def category_labels(table: RewardTable, vectors: FloatArray, count: int | None, seed: int) -> Tags:
    """count: how many to mine by k-means; None for the groups, where every query has one, and else `MINED` of them.

    There are never more than one per `MIN_ROWS` queries.
    """
    most = max(1, len(table) // MIN_ROWS)
    given = given_tags(table) if count is None else None
    if given is None or given.max() >= most:
        return mined_tags(vectors, min(count or MINED, most), seed)
    return given


def fit_classifier(vectors: FloatArray, labels: Tags) -> Classifier:
    """labels: each of 0 to the highest; one that no row has is given no share to speak of."""
    num_categories = int(labels.max()) + 1
    found, own = np.unique(labels, return_inverse=True)
    weights = np.zeros((vectors.shape[1], num_categories), dtype=np.float32)
    intercepts = np.full(num_categories, -30.0, dtype=np.float32)
    intercepts[found] = 0.0
    if len(found) > 1:
        weights[:, found], intercepts[found] = _optimum(vectors, own)
    return Classifier(weights, intercepts)


def softmax_loss(vectors: FloatArray, labels: Tags, penalty: float) -> Objective:
    """Of weights `(dimensions, n_categories)` and intercepts `(n_categories,)`: the rows' cross-entropy, summed, and the penalty.

    penalty: of half the squared weights, in rows.
    """
    rows = np.arange(len(vectors))

    def loss(parameters: Parameters) -> tuple[float, Parameters]:
        weights, intercepts = parameters
        scores = vectors @ weights + intercepts
        scores -= scores.max(axis=1, keepdims=True)
        value = 0.5 * penalty * float(np.vdot(weights, weights)) - float(scores[rows, labels].sum(dtype=np.float64))
        shares = np.exp(scores, out=scores)
        totals = shares.sum(axis=1, keepdims=True)
        value += float(np.log(totals).sum(dtype=np.float64))
        shares /= totals
        shares[rows, labels] -= 1.0
        return value, (vectors.T @ shares + np.float32(penalty) * weights, shares.sum(axis=0))

    return loss


def no_weights(dimensions: int, num_categories: int) -> Parameters:
    """Where `softmax_loss` is sought from: all categories alike."""
    return np.zeros((dimensions, num_categories), dtype=np.float32), np.zeros(num_categories, dtype=np.float32)


def _optimum(vectors: FloatArray, labels: Tags) -> tuple[FloatArray, FloatArray]:
    """Weights and intercepts, in a quarter of the steps for being sought where the loss is about as curved in all directions."""
    from scipy.linalg import solve_triangular

    centre = vectors.mean(axis=0)
    centred, identity = vectors - centre, np.eye(len(centre), dtype=np.float32)
    curvature = np.float32(CURVATURE) * (centred.T @ centred) + np.float32(PENALTY) * identity
    directions: FloatArray = solve_triangular(np.linalg.cholesky(curvature), identity, lower=True).T
    unit = np.float32((CURVATURE * len(vectors)) ** -0.5)
    loss = softmax_loss(centred, labels, PENALTY)

    def objective(parameters: Parameters) -> tuple[float, Parameters]:
        value, (weights, intercepts) = loss((directions @ parameters[0], unit * parameters[1]))
        return value, (directions.T @ weights, unit * intercepts)

    weights, intercepts = minimise(objective, no_weights(len(centre), int(labels.max()) + 1))
    weights = directions @ weights
    return weights, unit * intercepts - centre @ weights


def held_out_shares(table: RewardTable, vectors: FloatArray, labels: Tags, seed: int) -> FloatArray:
    """`(n_queries, n_categories)`: how each query is classified by those of the other folds, or by all where texts are too few."""
    if len(set(table.queries)) < FOLDS:
        return fit_classifier(vectors, labels)(vectors)
    shares = np.zeros((len(table), int(labels.max()) + 1), dtype=np.float32)
    numbers = fold_numbers(table, FOLDS, seed)
    for fold in range(FOLDS):
        seen, unseen = numbers != fold, numbers == fold
        known = fit_classifier(vectors[seen], labels[seen])(vectors[unseen])
        shares[unseen, : known.shape[1]] = known
    return shares
