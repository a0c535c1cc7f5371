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
from routers.parts.tags import Tags, given_tags, mined_tags
from routers.parts.tuning import FOLDS

MINED = 16
"""How many categories are mined where none are given."""
MIN_ROWS = 5
"""There are never more categories than one per so many queries."""
PENALTY = 0.1
"""Of half the squared weights, in rows."""


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
    from sklearn.linear_model import LogisticRegression

    num_categories, found = int(labels.max()) + 1, np.unique(labels)
    weights = np.zeros((vectors.shape[1], num_categories), dtype=np.float32)
    intercepts = np.full(num_categories, -30.0, dtype=np.float32)
    intercepts[found] = 0.0
    if len(found) == 1:
        return Classifier(weights, intercepts)
    model = LogisticRegression(C=1.0 / PENALTY, max_iter=500).fit(vectors, labels)
    if len(found) == 2:  # scikit-learn gives one column then, for the second
        weights[:, found[1]], intercepts[found[1]] = model.coef_[0], model.intercept_[0]
    else:
        weights[:, found], intercepts[found] = model.coef_.T, model.intercept_
    return Classifier(weights, intercepts)


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
