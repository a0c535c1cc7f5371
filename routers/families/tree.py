"""A decision tree over the query space with a choice of expert in each leaf, split only where cross-validation says that it pays.

    router = TreeRouter(encoder=encoder).fit(outcomes)
    router.predict(["What is 17 * 23?"])

Expertise Trees Resolve Knowledge Limitations in Collective Decision-Making (Abels et al., ICML 2023, arXiv 2305.01063). A leaf's
model is the experts' mean rewards, drawn towards those of the leaf's parent. A split is a threshold on one principal component
of the queries' vectors. A node is split when choosing per side earns more than one choice for all on queries held out in
turn, each time with the split that the other queries would have it; then the best split for all of them is made. The paper grows
its trees online; `variant="nearest"` is its naive alternative, the mean of the nearest queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray
from routers.data.table import RewardTable
from routers.families.knn import KnnRouter
from routers.families.learned import LearnedRouter
from routers.parts.components import Components, fit_components
from routers.parts.regions import one_hot, shrunk_means
from routers.parts.tuning import earnings

COMPONENTS = 32
"""Principal components that a split may look at."""
PLACES = 200
"""How many thresholds on a component are tried."""
FOLDS = 5
NEIGHBOURS = 50
PLAIN_MEAN = 1e6
"""A temperature at which all neighbours count the same."""

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Tree:
    """One entry per node, the root first. A leaf has component -1; `below` and `above` are nodes, by the threshold."""

    component: Rows
    threshold: FloatArray
    below: Rows
    above: Rows
    means: FloatArray
    """`(n_nodes, n_experts)`, as `errors`."""
    errors: FloatArray

    def leaves(self, features: FloatArray) -> Rows:
        """The leaf of each query."""
        nodes = np.zeros(len(features), dtype=np.intp)
        rows = np.arange(len(features))
        while (inner := self.component[nodes] >= 0).any():
            is_below = features[rows, self.component[nodes]] <= self.threshold[nodes]
            nodes = np.where(inner, np.where(is_below, self.below[nodes], self.above[nodes]), nodes)
        return nodes


class TreeRouter(LearnedRouter):
    """max_depth: of the tree. min_leaf: queries on either side of a split. pseudo_rows: that the parent's means count for."""

    type = "tree"
    has_std = True
    components_: Components
    tree_: Tree
    neighbours_: tuple[KnnRouter, ...]
    """One for `variant="nearest"`."""

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        variant: Literal["tree", "nearest"] = "tree",
        max_depth: Annotated[int, Field(ge=0)] = 8,
        min_leaf: Annotated[int, Field(ge=1)] = 15,
        pseudo_rows: Annotated[float, Field(gt=0)] = 20.0,
        seed: int = 0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.variant = variant
        self.max_depth = max_depth
        self.min_leaf = min_leaf
        self.pseudo_rows = pseudo_rows
        self.seed = seed

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        self.components_ = fit_components(vectors, COMPONENTS)
        self.neighbours_ = ()
        depth = self.max_depth
        if self.variant == "nearest":
            plain = KnnRouter(
                encoder=self.encoder, k=NEIGHBOURS, temperature=PLAIN_MEAN, pseudo_rows=self.pseudo_rows, seed=self.seed
            )
            self.neighbours_, depth = (plain.fit_encoded(table, vectors),), 0
        grower = _Grower(table, self.components_(vectors), self.min_leaf, self.pseudo_rows, self.seed)
        self.tree_ = grower.grow(depth)

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        if self.neighbours_:
            return self.neighbours_[0].predict_vectors(vectors)
        means: FloatArray = self.tree_.means[self.tree_.leaves(self.components_(vectors))]
        return means

    def std_vectors(self, vectors: FloatArray) -> FloatArray:
        if self.neighbours_:
            return self.neighbours_[0].std_vectors(vectors)
        errors: FloatArray = self.tree_.errors[self.tree_.leaves(self.components_(vectors))]
        return errors


class _Split(NamedTuple):
    component: int
    threshold: float


class _Grower:
    """Grows nodes depth first; the lists have one entry per node."""

    def __init__(self, table: RewardTable, features: FloatArray, min_leaf: int, pseudo_rows: float, seed: int) -> None:
        self.table = table
        self.features = features
        self.min_leaf = min_leaf
        self.pseudo_rows = pseudo_rows
        self.dice = np.random.default_rng(seed)
        self.splits: list[_Split] = []
        self.children: list[tuple[int, int]] = []
        self.means: list[FloatArray] = []
        self.errors: list[FloatArray] = []

    def grow(self, max_depth: Annotated[int, Field(ge=0)]) -> Tree:
        self._grow(np.arange(len(self.table)), self.table.means, max_depth)
        components, thresholds = zip(*self.splits, strict=True)
        below, above = zip(*self.children, strict=True)
        return Tree(
            np.array(components, dtype=np.intp),
            np.array(thresholds, dtype=np.float32),
            np.array(below, dtype=np.intp),
            np.array(above, dtype=np.intp),
            np.stack(self.means),
            np.stack(self.errors),
        )

    def _grow(self, rows: Rows, prior: FloatArray, depth: int) -> int:
        """The node's number."""
        here = self.table.rows(rows)
        means, errors = self._means(here, np.zeros(len(rows), dtype=np.intp), prior)
        node = len(self.splits)
        self.splits.append(_Split(-1, 0.0))
        self.children.append((-1, -1))
        self.means.append(means[0])
        self.errors.append(errors[0])
        if depth and len(rows) >= 2 * self.min_leaf and (split := self._split(here, rows, prior)):
            is_below = self.features[rows, split.component] <= split.threshold
            self.splits[node] = split
            below = self._grow(rows[is_below], means[0], depth - 1)
            self.children[node] = (below, self._grow(rows[~is_below], means[0], depth - 1))
        return node

    def _split(self, here: RewardTable, rows: Rows, prior: FloatArray) -> _Split | None:
        """The best split of the node, if splitting pays on held-out queries."""
        folds = self.dice.permutation(len(rows)) % FOLDS
        gain = 0.0
        for fold in range(FOLDS):
            train, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            known, unseen = here.rows(train), here.rows(held_out)
            split = self._best(known, self.features[rows[train]], prior)
            if split is None:
                return None
            sides = (self.features[rows, split.component] <= split.threshold).astype(np.intp)
            whole = self._means(known, np.zeros(len(train), dtype=np.intp), prior)[0]
            parts = self._means(known, sides[train], whole[0], 2)[0]
            gain += float(earnings(unseen, parts.argmax(axis=1)[sides[held_out]]).sum())
            gain -= float(earnings(unseen, np.repeat(whole.argmax(axis=1), len(held_out))).sum())
        return self._best(here, self.features[rows], prior) if gain > 0.0 else None

    def _best(self, table: RewardTable, features: FloatArray, prior: FloatArray) -> _Split | None:
        """The split whose two choices have the highest expected reward, None where no threshold leaves enough on both sides."""
        weights = np.where(table.tried, table.weights, 0.0)
        sums = weights * np.nan_to_num(table.rewards)
        whole = self._means(table, np.zeros(len(table), dtype=np.intp), prior)[0][0]
        least = max(1, self.min_leaf * (FOLDS - 1) // FOLDS)
        places = np.unique(np.linspace(least, len(table) - least, PLACES).astype(np.intp))
        best, split = -np.inf, None
        for component, values in enumerate(features.T):
            order = values.argsort(kind="stable")
            gap = values[order[places]] - values[order[places - 1]]
            expected = self._expected(weights[order], sums[order], places, whole)
            found = int(np.where(gap > 0.0, expected, -np.inf).argmax())
            if gap[found] > 0.0 and expected[found] > best:
                best = float(expected[found])
                split = _Split(component, float(values[order[places[found]]] - 0.5 * gap[found]))
        return split

    def _expected(self, weights: FloatArray, sums: FloatArray, places: Rows, whole: FloatArray) -> FloatArray:
        """Reward when so many of the first queries get their best expert and the others theirs, `(n_places,)`, summed."""
        below, below_sums = np.cumsum(weights, axis=0)[places - 1], np.cumsum(sums, axis=0)[places - 1]
        above, above_sums = weights.sum(axis=0) - below, sums.sum(axis=0) - below_sums
        first, second = (
            (side_sums + self.pseudo_rows * whole) / (side + self.pseudo_rows)
            for side, side_sums in ((below, below_sums), (above, above_sums))
        )
        expected: FloatArray = places * first.max(axis=1) + (len(weights) - places) * second.max(axis=1)
        return expected

    def _means(
        self, table: RewardTable, labels: Rows, prior: FloatArray, num_regions: int = 1
    ) -> tuple[FloatArray, FloatArray]:
        return shrunk_means(table, one_hot(labels, num_regions), prior, self.pseudo_rows)
