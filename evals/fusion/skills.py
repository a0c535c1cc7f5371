"""How good each expert is expected to be on a query, before anybody is asked: what baselines choose experts by.

    skills = Skills(encoder).fit(train)
    skills.routed(test.queries)            # (n, m): what a router expects
    skills.grouped(test.queries)           # (n, m): accuracy in the predicted group

A query of the training part gets what is expected of it by those that have not seen it, so that a baseline is tuned on
expectations as good as those it will have. Not here: the router (`routers/fusing/skills.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from routers.base import Encoder, FloatArray
from routers.data.table import RewardTable
from routers.fusing.skills import Expected, cross_fitted, inner_folds
from routers.fusing.table import AnswerTable
from routers.parts.categories import category_labels, fit_classifier, held_out_shares
from routers.parts.spelling import views, with_spelling
from routers.parts.tags import Tags

PRIOR_ROWS = 20.0
"""How many queries of a group an expert's overall accuracy counts for."""


class Skills:
    """encoder: of the queries, which are encoded once per `fit` and once per table."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def fit(self, table: AnswerTable) -> Self:
        rewards, vectors = table.reward_table(), with_spelling(self.encoder, table.queries)
        self.router_, expected = cross_fitted(table, vectors, self.encoder, inner_folds(rewards))
        meaning = views(vectors)[0]
        labels = category_labels(rewards, meaning, None, seed=0)
        self.by_group_ = _means_by_group(rewards, labels)
        self.classifier_ = fit_classifier(meaning, labels)
        grouped = held_out_shares(rewards, meaning, labels, 0) @ self.by_group_
        self.seen_ = dict(zip(table.queries, np.stack([expected.right, grouped], axis=1), strict=True))
        return self

    def routed(self, queries: Sequence[str]) -> FloatArray:
        """Expected rewards 0..1, `(n, m)`."""
        unseen = [query for query in queries if query not in self.seen_]
        return self._filled(queries, 0, Expected.of(self.router_.predict(unseen)).right)

    def grouped(self, queries: Sequence[str]) -> FloatArray:
        """Mean rewards of the groups, `(n, m)`, by how likely the query is of each."""
        unseen = [query for query in queries if query not in self.seen_]
        return self._filled(queries, 1, self.classifier_(self.encoder.encode(unseen)) @ self.by_group_)

    def _filled(self, queries: Sequence[str], kind: int, unseen: FloatArray) -> FloatArray:
        """What was held out of the queries that were trained on, and the rows of `unseen` for the others, in order."""
        rest = iter(unseen)
        rows = [self.seen_[query][kind] if query in self.seen_ else next(rest) for query in queries]
        return np.array(rows, dtype=np.float32)


def _means_by_group(table: RewardTable, labels: Tags) -> FloatArray:
    """`(n_groups, n_experts)`, drawn towards each expert's mean over all."""
    means = np.empty((int(labels.max()) + 1, len(table.experts)), dtype=np.float32)
    for group in range(len(means)):
        rewards, tried = table.rewards[labels == group], table.tried[labels == group]
        means[group] = (np.nansum(rewards, axis=0) + PRIOR_ROWS * table.means) / (tried.sum(axis=0) + PRIOR_ROWS)
    return means
