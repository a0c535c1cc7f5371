"""Groups of experts first, then the expert within the group: the kind of task decides between groups, the query itself within one.

    router = HierarchicalRouter(encoder=encoder).fit(outcomes)
    router.predict(["What is 17 * 23?"])

Experts whose rewards rise and fall together over the categories of queries form a group, unless groups are given. A group's share
depends on what category the query seems to be of (global), an expert's share of its group on the query's vector (local); both
gates learn together to match the softmax of the rewards, and their shares are then scaled to rewards. As in MoEC (Xie et al., arXiv
2207.09094) the variance within a group is held down, so that its experts differ only where the outcomes insist, and whole groups
are dropped at random while training, so that the others learn to stand in. The two scales are GLIDER's (Li et al., arXiv
2410.07172), which reads the task from a description that a language model writes of the query: with `described=True` and
the encoder of `routers/parts/described.py` the global gate does so too. Both papers route tokens between layers' parts; here the
parts are whole models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter
from routers.parts.calibration import RewardScale, fit_scale
from routers.parts.categories import Classifier, category_labels, fit_classifier, held_out_shares
from routers.parts.network import Parameters, minimise, split_rows
from routers.parts.regions import one_hot, shrunk_means

PROFILE_ROWS = 20.0
"""Pseudo-rows in the experts' profiles over categories."""
DRAWS = 4
"""How often each query is seen, each time with other groups dropped."""

Labels = NDArray[np.intp]


@dataclass(frozen=True)
class Gates:
    """The two gates. membership: `(n_experts, n_groups)` of 0 and 1."""

    global_weights: FloatArray
    """`(n_categories, n_groups)`."""
    local_weights: FloatArray
    """`(dimensions, n_experts)`."""
    global_biases: FloatArray
    local_biases: FloatArray
    membership: FloatArray

    @property
    def parameters(self) -> Parameters:
        return (self.global_weights, self.local_weights, self.global_biases, self.local_biases)

    def local(self, vectors: FloatArray) -> FloatArray:
        """What decides within groups `(n_queries, n_experts)`."""
        scores: FloatArray = vectors @ self.local_weights + self.local_biases
        return scores

    def within(self, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Each expert's share of its group and the logarithm of it, `(n_queries, n_experts)`, of what `local` gave."""
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        sums = np.maximum(exponentials @ self.membership @ self.membership.T, np.float32(1e-30))
        shares = exponentials / sums
        return shares, np.log(np.maximum(shares, np.float32(1e-30)))

    def __call__(self, categories: FloatArray, vectors: FloatArray) -> FloatArray:
        """Logarithms of shares `(n_queries, n_experts)`, but for a constant per query."""
        return self.joined(categories, self.within(self.local(vectors))[1])

    def joined(self, categories: FloatArray, logarithms: FloatArray) -> FloatArray:
        """With the shares' logarithms within groups at hand."""
        of_groups: FloatArray = categories @ self.global_weights + self.global_biases
        scores: FloatArray = of_groups @ self.membership.T
        return scores + logarithms


class HierarchicalRouter(LearnedRouter):
    """Two gates over groups of experts.

    groups: experts by group's name; None to find `num_groups` (by default about the root of the number of experts).
    described: vectors hold the query first and then what was said of it, as `routers/parts/described.py` makes them.
    temperature: of the softmax of rewards. variance: weight of the variance within groups. dropout: probability, of a group.
    """

    type = "hierarchical"
    classifier_: Classifier
    gates_: Gates
    scale_: RewardScale

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        groups: Mapping[str, tuple[str, ...]] | None = None,
        num_groups: Annotated[int, Field(ge=1)] | None = None,
        categories: Annotated[int, Field(ge=1)] | None = None,
        described: bool = False,
        temperature: Annotated[float, Field(gt=0)] = 0.3,
        variance: Annotated[float, Field(ge=0)] = 0.1,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        penalty: Annotated[float, Field(ge=0)] = 10.0,
        seed: int = 0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.groups = groups
        self.num_groups = num_groups
        self.categories = categories
        self.described = described
        self.temperature = temperature
        self.variance = variance
        self.dropout = dropout
        self.penalty = penalty
        self.seed = seed

    @property
    def group_of_(self) -> Mapping[str, int]:
        """The number of each expert's group."""
        return dict(zip(self.fitted_experts_, self.gates_.membership.argmax(axis=1).tolist(), strict=False))

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        """Raises ValueError for groups that leave out an expert, or hold one twice."""
        told, own = self._parts(vectors)
        labels = category_labels(table, told, self.categories, self.seed)
        self.classifier_ = fit_classifier(told, labels)
        membership = self._membership(table, labels)
        seen = held_out_shares(table, told, labels, self.seed)
        fitted, stopping = split_rows(len(table), 0.1, self.seed)
        own = np.column_stack((own, seen))
        wanted = _softmax(_filled(table, labels) / np.float32(self.temperature))
        counts = np.where(table.tried, table.weights, 0.0).sum(axis=1) / table.tried.sum(axis=1)
        problem = _Problem(wanted, counts.astype(np.float32)[:, None], seen, own, membership, self.variance)
        self.gates_ = problem.solve(fitted, stopping, self.dropout, self.penalty, self.seed)
        rows = stopping if len(stopping) else fitted
        self.scale_ = fit_scale(table, vectors, self.gates_(seen, own), rows)

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        told, own = self._parts(vectors)
        categories = self.classifier_(told)
        return self.scale_(vectors, self.gates_(categories, np.column_stack((own, categories))))

    def _parts(self, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What the global gate reads, and the local one."""
        half = vectors.shape[1] // 2
        return (vectors[:, half:], vectors[:, :half]) if self.described else (vectors, vectors)

    def _membership(self, table: RewardTable, labels: Labels) -> FloatArray:
        if self.groups is None:
            return one_hot(_alike(table, labels, self.num_groups))
        numbers = {name: i for i, names in enumerate(self.groups.values()) for name in names}
        if missing := [name for name in table.experts if name not in numbers]:
            raise ValueError(f"'groups' has none for the expert '{missing[0]}', expected each expert in one group")
        if len(numbers) < sum(map(len, self.groups.values())):
            raise ValueError("'groups' has an expert twice, expected each expert in one group")
        return one_hot(np.array([numbers[name] for name in table.experts], dtype=np.intp), len(self.groups))


def _alike(table: RewardTable, labels: Labels, count: int | None) -> Labels:
    """The group of each expert, by average linkage of how its rewards in each category lie above or below what is usual there."""
    from scipy.cluster.hierarchy import fcluster, linkage

    num_experts = len(table.experts)
    count = min(count or round(num_experts**0.5), num_experts)
    if count < 2 or num_experts == 2:
        return np.arange(num_experts) % count
    profiles = shrunk_means(table, one_hot(labels), table.means, PROFILE_ROWS)[0].T
    groups: Labels = fcluster(linkage(profiles - profiles.mean(axis=0), "average"), count, "maxclust") - 1
    return groups.astype(np.intp)


def _filled(table: RewardTable, labels: Labels) -> FloatArray:
    """Rewards `(n_queries, n_experts)`, the category's mean where an expert was not tried."""
    means = shrunk_means(table, one_hot(labels), table.means, PROFILE_ROWS)[0]
    rewards: FloatArray = np.where(table.tried, table.rewards, means[labels])
    return rewards


@dataclass(frozen=True)
class _Problem:
    """What the gates are fitted to. wanted: shares `(n_queries, n_experts)`. counts: `(n_queries, 1)`, how much a query counts."""

    wanted: FloatArray
    counts: FloatArray
    categories: FloatArray
    vectors: FloatArray
    membership: FloatArray
    variance: float

    def solve(self, fitted: Labels, stopping: Labels, dropout: float, penalty: float, seed: int) -> Gates:
        start = self._gates(
            tuple(
                np.zeros(shape, dtype=np.float32)
                for shape in (
                    (self.categories.shape[1], self.membership.shape[1]),
                    (self.vectors.shape[1], self.membership.shape[0]),
                    self.membership.shape[1],
                    self.membership.shape[0],
                )
            )
        )
        dice = np.random.default_rng(seed)
        draws = [self._kept(dropout, dice) for _ in range(DRAWS if dropout else 1)]
        seen, unseen = self._rows(fitted), self._rows(stopping)
        kept, everyone = [each[fitted] for each in draws], [np.ones_like(unseen.wanted)]

        def objective(parameters: Parameters) -> tuple[float, Parameters]:
            value, gradients = seen.loss(self._gates(parameters), kept)
            decayed = tuple(g + np.float32(penalty) * w for g, w in zip(gradients[:2], parameters[:2], strict=True))
            squares = sum(float(np.vdot(w, w)) for w in parameters[:2])
            return value + 0.5 * penalty * squares, decayed + gradients[2:]

        def held_out(parameters: Parameters) -> float:
            return unseen.loss(self._gates(parameters), everyone)[0]

        return self._gates(minimise(objective, start.parameters, held_out if len(stopping) else None))

    def loss(self, gates: Gates, draws: Sequence[FloatArray]) -> tuple[float, Parameters]:
        """Cross-entropy of the shares against those wanted, both among a draw's kept experts, summed; and its gradients.

        The mean over draws, each `(n_queries, n_experts)` of 0 and 1.
        """
        local = gates.local(self.vectors)
        within, logarithms = gates.within(local)
        joined = gates.joined(self.categories, logarithms)
        value, slope = 0.0, np.zeros_like(joined)
        for kept in draws:
            wanted = self.wanted * kept
            wanted /= np.maximum(wanted.sum(axis=1, keepdims=True), np.float32(1e-30))
            shares = _softmax(joined, kept)
            value -= float(np.vdot(self.counts * wanted, np.log(np.maximum(shares, np.float32(1e-30))))) / len(draws)
            slope += self.counts * (shares - wanted) / np.float32(len(draws))
        by_group = slope @ self.membership
        spread = local - (local @ self.membership / self.membership.sum(axis=0)) @ self.membership.T
        value += 0.5 * self.variance * float(np.vdot(spread, spread))
        local_slope = slope - within * (by_group @ self.membership.T) + np.float32(self.variance) * spread
        gradients = (
            self.categories.T @ by_group,
            self.vectors.T @ local_slope,
            by_group.sum(axis=0),
            local_slope.sum(axis=0),
        )
        return value, gradients

    def _rows(self, rows: Labels) -> _Problem:
        return replace(
            self,
            wanted=self.wanted[rows],
            counts=self.counts[rows],
            categories=self.categories[rows],
            vectors=self.vectors[rows],
        )

    def _gates(self, parameters: Parameters) -> Gates:
        global_weights, local_weights, global_biases, local_biases = parameters
        return Gates(global_weights, local_weights, global_biases, local_biases, self.membership)

    def _kept(self, dropout: float, dice: np.random.Generator) -> FloatArray:
        """`(n_queries, n_experts)` of 0 and 1: 0 for experts of groups that are dropped; never all of a query's."""
        groups = dice.random((len(self.wanted), self.membership.shape[1])) >= dropout
        groups |= ~groups.any(axis=1, keepdims=True)
        kept: FloatArray = groups.astype(np.float32) @ self.membership.T
        return kept


def _softmax(scores: FloatArray, kept: FloatArray | None = None) -> FloatArray:
    """Of each row; with `kept`, among the experts for which that is 1."""
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    if kept is not None:
        exponentials = np.maximum(exponentials, np.float32(1e-30)) * kept
    shares: FloatArray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares
