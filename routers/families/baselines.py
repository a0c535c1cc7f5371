"""Routers that don't read the query: what every other router must beat, and often enough what is wanted.

    FixedRouter(experts=cards, order=("large", "small")).fit().predict(["anything"])        # [[0.5, 1.0]]

Members of the registry like any other. Scores are fractions 0..1, as everywhere, though for most of these they only say the order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from pydantic import FilePath

from routers.base import ExpertCard, FloatArray, Outcome
from routers.data.outcomes import read_outcomes
from routers.data.table import RewardTable


class ConstantRouter:
    """The same scores for every query: `scores_`, one per expert, which `fit` of a subclass sets."""

    type: ClassVar[str]
    needs_encoder = False
    experts_: tuple[str, ...]
    scores_: FloatArray

    def predict(self, queries: Sequence[str]) -> FloatArray:
        return self.scores_[None].repeat(len(queries), axis=0)


class RandomRouter:
    """Uniform scores, drawn anew for every text but always the same for one text, expert and `seed`."""

    type = "random"
    needs_encoder = False
    experts_: tuple[str, ...]

    def __init__(self, *, experts: Sequence[ExpertCard], seed: int = 0) -> None:
        self.experts = experts
        self.seed = seed

    def fit(self, outcomes: Sequence[Outcome] = ()) -> Self:
        self.experts_ = tuple(card.name for card in self.experts)
        return self

    def predict(self, queries: Sequence[str]) -> FloatArray:
        draws = [[_uniform(self.seed, expert, query) for expert in self.experts_] for query in queries]
        return np.array(draws, dtype=np.float32).reshape(len(queries), len(self.experts_))


class CheapestRouter(ConstantRouter):
    """1 for the cheapest expert, less for every dearer price, equal for equal prices (input and output price, added)."""

    type = "cheapest"

    def __init__(self, *, experts: Sequence[ExpertCard]) -> None:
        self.experts = experts

    def fit(self, outcomes: Sequence[Outcome] = ()) -> Self:
        self.experts_ = tuple(card.name for card in self.experts)
        prices, ranks = np.unique([card.price_input + card.price_output for card in self.experts], return_inverse=True)
        self.scores_ = (1.0 - ranks / len(prices)).astype(np.float32)
        return self


class FixedRouter(ConstantRouter):
    """1 for the first expert in `order`, less for every later one, 0 for those that aren't there; by default as declared.

    Names in `order` that are not among `experts` take their place in it, and nothing else (a router sees one kind of expert).
    """

    type = "fixed"

    def __init__(
        self, *, experts: Sequence[ExpertCard], expert: str | None = None, order: tuple[str, ...] = ()
    ) -> None:
        self.experts = experts
        self.expert = expert
        self.order = order

    def fit(self, outcomes: Sequence[Outcome] = ()) -> Self:
        """Raises ValueError when both `expert` and `order` are given."""
        if self.expert is not None and self.order:
            raise ValueError("'expert' and 'order' exclude each other")
        self.experts_ = tuple(card.name for card in self.experts)
        order = self.order or ((self.expert,) if self.expert is not None else self.experts_)
        ranks = {name: 1.0 - i / len(order) for i, name in enumerate(order)}
        self.scores_ = np.array([ranks.get(name, 0.0) for name in self.experts_], dtype=np.float32)
        return self


class BestSingleRouter(ConstantRouter):
    """Each expert's mean reward over the outcomes, by importance; one that was never tried gets the mean over all rewards.

    data: an outcome file to learn from when `fit` is given no outcomes.
    """

    type = "best_single"

    def __init__(self, *, experts: Sequence[ExpertCard], data: FilePath | None = None) -> None:
        self.experts = experts
        self.data = data

    def fit(self, outcomes: Sequence[Outcome] = ()) -> Self:
        """Raises ValueError when there is nothing to learn from."""
        table = RewardTable.of(outcomes or (read_outcomes(self.data) if self.data is not None else ()))
        if not len(table):
            raise ValueError("best_single needs outcomes: set 'data' to an outcome file with rewards")
        means = dict(zip(table.experts, table.means.tolist(), strict=True))
        self.experts_ = tuple(card.name for card in self.experts)
        self.scores_ = np.array([means.get(name, table.mean) for name in self.experts_], dtype=np.float32)
        return self


def _uniform(seed: int, expert: str, query: str) -> float:
    """A number in [0, 1) from a hash of all three."""
    digest = hashlib.blake2b(f"{seed}\0{expert}\0{query}".encode("utf-8", "surrogatepass"), digest_size=3)
    return int.from_bytes(digest.digest(), "big") / 2**24
