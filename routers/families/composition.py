"""Two steps: classify the query into a category, and look up which expert the category has under a budget.

    router = CompositionRouter(encoder=encoder, budget=40.0, sizes={"small": 8.0, "large": 70.0}).fit(outcomes)
    router.predict(["What is 17 * 23?"])

Composition of Experts (Jain et al., arXiv 2412.01868). Categories are the outcomes' groups, or mined. A query whose category is
uncertain falls back: the uncertain ones are a category of their own, with its own expert. What experts earn in a category is
learned from queries classified by others' labels, so that the map knows how often the first step errs. The map is the best there
is under the budget, by an integer program that is solved exactly. Scores are the category's mean rewards; where the budget does
not give a category its best expert, no expert scores above the one it was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter
from routers.parts.categories import Classifier, category_labels, fit_classifier, held_out_shares
from routers.parts.regions import one_hot, shrunk_means

BEHIND = 1e-3
"""How far below the given expert the scores of those are that the budget passed over."""

Labels = NDArray[np.intp]


class CompositionRouter(LearnedRouter):
    """Which expert each category is mapped to, under budgets.

    categories: how many to mine; None for the outcomes' groups. certainty: the share that the likeliest category needs, 0..1.
    budget: of a query in the mean, in units of `sizes`, or without them of the outcomes' costs. sizes: by expert, say
    billions of active parameters. total_budget: of the sizes of all experts in use, which is what must be in memory.
    """

    type = "composition"
    has_std = True
    classifier_: Classifier
    means_: FloatArray
    """`(n_categories + 1, n_experts)`, as `errors_`; the last row is for uncertain queries."""
    errors_: FloatArray
    expert_of_: Labels
    """`(n_categories + 1,)`."""

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        categories: Annotated[int, Field(ge=1)] | None = None,
        certainty: Annotated[float, Field(ge=0, le=1)] = 0.4,
        budget: Annotated[float, Field(ge=0)] | None = None,
        sizes: Mapping[str, float] | None = None,
        total_budget: Annotated[float, Field(ge=0)] | None = None,
        pseudo_rows: Annotated[float, Field(gt=0)] = 20.0,
        seed: int = 0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.categories = categories
        self.certainty = certainty
        self.budget = budget
        self.sizes = sizes
        self.total_budget = total_budget
        self.pseudo_rows = pseudo_rows
        self.seed = seed

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        """Raises ValueError for a budget that no map meets, or without what it takes to know what experts cost."""
        labels = category_labels(table, vectors, self.categories, self.seed)
        self.classifier_ = fit_classifier(vectors, labels)
        found = self._classified(held_out_shares(table, vectors, labels, self.seed))
        memberships = one_hot(found, int(labels.max()) + 2)
        self.means_, self.errors_ = shrunk_means(table, memberships, table.means, self.pseudo_rows)
        self.expert_of_ = self.means_.argmax(axis=1)
        if self.budget is not None or self.total_budget is not None:
            self.expert_of_ = self._mapped(table, memberships)

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        categories = self._classified(self.classifier_(vectors))
        given = self.expert_of_[categories][:, None]
        means = self.means_[categories]
        most = np.take_along_axis(means, given, axis=1)
        scores: FloatArray = np.where(np.arange(means.shape[1]) == given, most, np.minimum(means, most - BEHIND))
        is_best = means.argmax(axis=1, keepdims=True) == given
        return np.where(is_best, means, scores)

    def std_vectors(self, vectors: FloatArray) -> FloatArray:
        errors: FloatArray = self.errors_[self._classified(self.classifier_(vectors))]
        return errors

    def _classified(self, shares: FloatArray) -> Labels:
        """The likeliest category, or the one behind the last for those that are uncertain."""
        found: Labels = np.where(shares.max(axis=1) >= self.certainty, shares.argmax(axis=1), shares.shape[1])
        return found

    def _mapped(self, table: RewardTable, memberships: FloatArray) -> Labels:
        shares = memberships.mean(axis=0)
        sizes = self._sizes(table) if self.sizes is not None else None
        if self.total_budget is not None and sizes is None:
            raise ValueError("'total_budget' needs 'sizes', the size of each expert")
        each = self._costs(table, memberships) if sizes is None else np.tile(sizes, (len(shares), 1))
        return assign(self.means_, shares, each, self.budget, sizes, self.total_budget)

    def _sizes(self, table: RewardTable) -> FloatArray:
        known = self.sizes or {}
        if missing := [name for name in table.experts if name not in known]:
            raise ValueError(f"'sizes' has none for the expert '{missing[0]}', expected one for each expert")
        return np.array([known[name] for name in table.experts], dtype=np.float32)

    def _costs(self, table: RewardTable, memberships: FloatArray) -> FloatArray:
        """Mean cost `(n_categories + 1, n_experts)`, drawn towards the expert's own as the rewards are."""
        known = ~np.isnan(table.costs)
        if missing := [name for i, name in enumerate(table.experts) if not known[:, i].any()]:
            raise ValueError(f"a budget needs 'sizes', or outcomes with costs; there are none for '{missing[0]}'")
        costs = np.where(known, table.costs, 0.0)
        overall = costs.sum(axis=0) / known.sum(axis=0)
        sums = memberships.T @ costs + self.pseudo_rows * overall
        means: FloatArray = (sums / (memberships.T @ known + self.pseudo_rows)).astype(np.float32)
        return means


def assign(
    rewards: FloatArray,
    shares: FloatArray,
    costs: FloatArray,
    budget: float | None,
    sizes: FloatArray | None = None,
    total_budget: float | None = None,
) -> Labels:
    """The expert of each category `(n_categories,)` with the highest mean reward under the budgets, by mixed-integer programming.

    rewards, costs: `(n_categories, n_experts)`. shares: of the categories. budget: of the mean cost. total_budget: of the
    sizes `(n_experts,)` of all experts in use. Raises ValueError when nothing is within the budgets.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    num_categories, num_experts = rewards.shape
    num_pairs = num_categories * num_experts
    pad = np.zeros(num_experts)
    pairs = np.eye(num_pairs)
    one_each = np.kron(np.eye(num_categories), np.ones(num_experts))
    in_use = np.tile(-np.eye(num_experts), (num_categories, 1))
    limits = [
        LinearConstraint(np.column_stack([one_each, np.zeros((num_categories, num_experts))]), 1.0, 1.0),
        LinearConstraint(np.column_stack([pairs, in_use]), -np.inf, 0.0),
    ]
    if budget is not None:
        limits.append(LinearConstraint(np.concatenate([(shares[:, None] * costs).ravel(), pad]), -np.inf, budget))
    if total_budget is not None and sizes is not None:
        limits.append(LinearConstraint(np.concatenate([np.zeros(num_pairs), sizes]), -np.inf, total_budget))
    # A category that no training query fell into weighs a little, so that it too has its best expert.
    value = np.concatenate([-(np.maximum(shares, 1e-6)[:, None] * rewards).ravel(), pad])
    exact = {"mip_rel_gap": 0.0}
    solution = milp(value, integrality=np.ones(len(value)), bounds=Bounds(0.0, 1.0), constraints=limits, options=exact)
    if solution.x is None:
        least = float((shares * costs.min(axis=1)).sum())
        raise ValueError(
            f"no choice of experts is within the budget; the cheapest costs {least:.4g} a query in the mean"
        )
    chosen: Labels = solution.x[:num_pairs].reshape(rewards.shape).argmax(axis=1)
    return chosen
