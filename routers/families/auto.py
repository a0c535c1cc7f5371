"""The router to start with: several routers fitted at once, blended by how far each is to be trusted on queries it has not seen.

    router = AutoRouter(encoder=encoder).fit(outcomes)
    router.members_, router.trust_              # the fitted routers, and the weight of each
    mean, std = router.predict(["What is 17 * 23?"], return_std=True)

Cross-validated stacking (Wolpert 1992; non-negative weights: Breiman 1996): every member predicts queries it was not fitted to.
Least squares then says how much to believe of each member's *differences between experts*, and apart from that of what it says of
the query's level. Routing lives on the differences; difficulty, which all experts share, would otherwise drown them. Weights need
not sum to 1: where nothing can be learned they are near 0, and what is left is each expert's mean.

Far from everything seen the differences are drawn in further. How much, is learned too: members are also fitted with whole groups
left out, and `far_trust_` is how much of the differences held on those. Which of the two a query is like, its nearest neighbour
tells. The standard error joins the largest of the members' own with how far the farthest is from the blend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray
from routers.data.splits import fold_numbers
from routers.data.table import RewardTable
from routers.families.learned import LearnedRouter
from routers.parts.memory import top_k
from routers.parts.spelling import views
from routers.parts.tags import given_tags, mined_tags
from routers.parts.tuning import earnings
from routers.registry import make_router, router_class

MEMBERS = ("tagged", "cluster")
FOLDS, FAR_PARTS = 4, 2
MIN_ROWS = 60
"""With fewer different queries there is no cross-validation, and the members are trusted as `PRIOR_TRUST` says."""
PRIOR_TRUST = 0.8
"""Of all members together, in equal parts."""
PRIOR_CELLS = 200.0
"""How many rewards that belief counts for."""
REFERENCES = 4_000
"""Training queries at most that nearness is measured to."""
BOLDNESS = (1.0, 0.75, 0.5, 0.25, 0.0)
UNUSUAL = 0.1
"""A query is near when its nearest neighbour is as similar as that of all but this share of queries held out."""


class AutoRouter(LearnedRouter):
    """members: types of the registry, each fitted with its default parameters."""

    type = "auto"
    reads_spelling = True
    has_std = True
    members_: tuple[LearnedRouter, ...]
    means_: FloatArray
    trust_: FloatArray
    """`(2, n_members)`: how much counts of what each says of the differences between experts, and of the query's level."""
    far_trust_: float
    """How much of the differences counts on queries unlike any seen."""
    near_: float
    far_: float
    """Similarity to the nearest reference from which on a query is near, and at which it is far."""
    references_: FloatArray

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        members: Annotated[tuple[str, ...], Field(min_length=1)] = MEMBERS,
        seed: int = 0,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.members = members
        self.seed = seed

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        self.means_ = table.means
        self.references_ = _sample(views(vectors)[0], self.seed)
        self.trust_ = np.full((2, len(self.members)), PRIOR_TRUST / len(self.members), dtype=np.float32)
        self.far_trust_, self.near_, self.far_ = 1.0, 0.0, 0.0
        if len(set(table.queries)) >= MIN_ROWS:
            self._learn_trust(table, vectors)
        self.members_ = self._fitted(table, vectors)

    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        return self.means_ + self._blend(self._gains(self.members_, self.means_, vectors), self._reach(vectors))

    def std_vectors(self, vectors: FloatArray) -> FloatArray:
        gains = self._gains(self.members_, self.means_, vectors)
        # All members shrink alike, so their mean error is too small: the farthest and the least sure of them count.
        disagreement = ((gains - self._blend(gains, self._reach(vectors))) ** 2).max(axis=0)
        own = [_member_std(member, vectors) for member in self.members_ if member.has_std]
        std: FloatArray = np.sqrt(disagreement + (np.max(own, axis=0) ** 2 if own else 0.0))
        return std

    def _learn_trust(self, table: RewardTable, vectors: FloatArray) -> None:
        """`trust_` on queries like those of the table, and `far_trust_` on groups that the members have not seen."""
        near = self._held_out(table, vectors, fold_numbers(table, FOLDS, self.seed))
        self.trust_ = _trust(near)
        self.trust_[0] *= self._boldness(near)
        parts = _parts(table, vectors, self.seed)
        if parts is None:
            return
        far = self._held_out(table, vectors, parts)
        level, differences = (self._blend(far.gains, np.full(len(table), reach)) for reach in (0.0, 1.0))
        self.far_trust_ = _slope(far.targets - level, differences - level, far.weights)
        self.near_, self.far_ = (float(np.quantile(part.nearness, UNUSUAL)) for part in (near, far))

    def _boldness(self, held_out: _HeldOut) -> np.float32:
        """The part of the differences that earns most when choices are made by it, the boldest of equals.

        Least squares is about all experts, choices are about the best: where those are too alike for what the differences
        say of them to be more than noise, the best single expert earns more than a router that believes it.
        """
        means, earned = held_out.means, []
        level, bold = (self._blend(held_out.gains, np.full(len(means), reach)) for reach in (0.0, 1.0))
        for part in BOLDNESS:
            choice = (means + level + part * (bold - level)).argmax(axis=1)
            earned.append(earnings(held_out.table, choice).mean())
        return np.float32(BOLDNESS[int(np.argmax(earned))])

    def _held_out(self, table: RewardTable, vectors: FloatArray, folds: NDArray[np.intp]) -> _HeldOut:
        """What members say of each fold when fitted to the others."""
        gains = np.zeros((len(self.members), *table.rewards.shape), dtype=np.float32)
        means = np.zeros_like(table.rewards)
        nearness = np.zeros(len(table), dtype=np.float32)
        for fold in np.unique(folds):
            train, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            seen = table.rows(train)
            means[unseen] = seen.means
            gains[:, unseen] = self._gains(self._fitted(seen, vectors[train]), seen.means, vectors[unseen])
            nearness[unseen] = _nearness(views(vectors[unseen])[0], _sample(views(vectors[train])[0], self.seed))
        return _HeldOut(table, means, gains, nearness)

    def _fitted(self, table: RewardTable, vectors: FloatArray) -> tuple[LearnedRouter, ...]:
        members = []
        for name in self.members:
            if name == self.type or not issubclass(router_class(name), LearnedRouter):
                raise ValueError(f"'members' of a router of type 'auto': expected types that learn alone, got '{name}'")
            member = make_router(name, experts=(), encoder=self.encoder, parameters={})
            assert isinstance(member, LearnedRouter), "its class is one"
            members.append(member.fit_encoded(table, _view(member, vectors)))
        return tuple(members)

    def _gains(self, members: Sequence[LearnedRouter], means: FloatArray, vectors: FloatArray) -> FloatArray:
        """What each member expects above the experts' means, `(n_members, n_queries, n_experts)`."""
        return np.stack([member.predict_vectors(_view(member, vectors)) - means for member in members])

    def _blend(self, gains: FloatArray, reach: FloatArray) -> FloatArray:
        """Gains `(n_queries, n_experts)`. reach: `(n_queries,)`, how much of the differences is to be believed there."""
        differences, levels = _parted(gains)
        blended: FloatArray = np.einsum("b,bne,n->ne", self.trust_[0], differences, reach) + np.einsum(
            "b,bne->ne", self.trust_[1], levels
        )
        return blended

    def _reach(self, vectors: FloatArray) -> FloatArray:
        """1 near what was seen, `far_trust_` where it is far, less beyond."""
        if not 0.0 < self.far_ < self.near_:
            return np.ones(len(vectors), dtype=np.float32)
        nearness = _nearness(views(vectors)[0], self.references_)
        return np.interp(nearness, [0.0, self.far_, self.near_], [0.0, self.far_trust_, 1.0]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _HeldOut:
    """means: `(n_queries, n_experts)`. gains: `(n_members, n_queries, n_experts)`. nearness: `(n_queries,)`."""

    table: RewardTable
    means: FloatArray
    gains: FloatArray
    nearness: FloatArray

    @property
    def targets(self) -> FloatArray:
        """What members should have said, `(n_queries, n_experts)`; 0 where not tried."""
        return np.where(self.table.tried, self.table.rewards - self.means, np.float32(0.0))

    @property
    def weights(self) -> FloatArray:
        return np.where(self.table.tried, self.table.weights, np.float32(0.0))


def _parted(gains: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Differences between experts, and the query's level, which is the same for all of them."""
    levels = np.broadcast_to(gains.mean(axis=-1, keepdims=True), gains.shape)
    return gains - levels, levels


def _trust(held_out: _HeldOut) -> FloatArray:
    """Non-negative least squares of the targets on differences and levels, `(2, n_members)`, drawn towards the prior."""
    from scipy.optimize import nnls

    num_members = len(held_out.gains)
    columns = np.concatenate(_parted(held_out.gains)).reshape(2 * num_members, -1).astype(np.float64)
    weights, targets = held_out.weights.ravel(), held_out.targets.ravel()
    gram = (columns * weights) @ columns.T
    pull = np.diag(PRIOR_CELLS * (columns**2).mean(axis=1) + 1e-6)
    prior = np.full(2 * num_members, PRIOR_TRUST / num_members)
    lower = np.linalg.cholesky(gram + pull)
    trust, _ = nnls(lower.T, np.linalg.solve(lower, (columns * weights) @ targets + pull @ prior))
    found: FloatArray = trust.reshape(2, num_members).astype(np.float32)
    return found


def _slope(targets: FloatArray, differences: FloatArray, weights: FloatArray) -> float:
    """How much of the differences held, 0..1."""
    squares = float((weights * differences**2).sum())
    return float(np.clip((weights * differences * targets).sum() / squares, 0.0, 1.0)) if squares > 0 else 1.0


def _parts(table: RewardTable, vectors: FloatArray, seed: int) -> NDArray[np.intp] | None:
    """Whole groups, dealt out to `FAR_PARTS`; None where there are too few of them."""
    tags = given_tags(table)
    if tags is None:
        tags = mined_tags(views(vectors)[0], 2 * FAR_PARTS, seed)
    num_tags = int(tags.max()) + 1
    if num_tags < 2 * FAR_PARTS:
        return None
    dealt = np.random.default_rng(seed).permutation(num_tags) % FAR_PARTS
    parts: NDArray[np.intp] = dealt[tags]
    return parts


def _sample(vectors: FloatArray, seed: int) -> FloatArray:
    if len(vectors) <= REFERENCES:
        return vectors
    return vectors[np.random.default_rng(seed).choice(len(vectors), REFERENCES, replace=False)]


def _nearness(vectors: FloatArray, references: FloatArray) -> FloatArray:
    """Cosine to the nearest reference, `(n_queries,)`."""
    return top_k(vectors, references, 1)[1][:, 0]


def _view(member: LearnedRouter, vectors: FloatArray) -> FloatArray:
    return vectors if member.reads_spelling else np.ascontiguousarray(views(vectors)[0])


def _member_std(member: LearnedRouter, vectors: FloatArray) -> FloatArray:
    return member.std_vectors(_view(member, vectors))
