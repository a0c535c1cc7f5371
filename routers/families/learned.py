"""What every router that learns from outcomes shares: texts become vectors, outcomes a table, and experts can be added later.

    class Linear(LearnedRouter):
        type = "linear"
        def fit_table(self, table, vectors): ...            # learns attributes that end in `_`
        def predict_vectors(self, vectors): ...             # (n_queries, n_fitted_experts)

A family implements those two, and `std_vectors` where it knows how sure it is. What `fit` learns are numpy arrays, plain values
and routers, all in attributes that end in `_` and are annotated on the class: that is what an artifact holds
(`routers/artifact.py`). `fit` may use scikit-learn and scipy; `predict` uses numpy and kernels alone, so that serving needs
no more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol, Self, overload, runtime_checkable

import numpy as np

from routers.base import Encoder, ExpertCard, FloatArray, Outcome
from routers.data.table import RewardTable
from routers.onboarding import Onboarded, onboard
from routers.parts.spelling import SPELLING, with_spelling


@runtime_checkable
class EncodedRouter(Protocol):
    """A router that reads texts in a step of its own, so that they are read once for many fits. `LearnedRouter`, and `skills`."""

    @property
    def dimensions(self) -> int: ...

    def encode(self, queries: Sequence[str], reader: Encoder | None = None) -> FloatArray: ...

    def fit_encoded(self, table: RewardTable, vectors: FloatArray) -> Self: ...

    def predict_encoded(self, vectors: FloatArray) -> FloatArray: ...


class LearnedRouter(ABC):
    """A subclass's constructor takes `experts` and `encoder`, and parameters with JSON values and defaults.

    experts: what is declared of them; by default, the experts of the outcomes.
    """

    type: ClassVar[str]
    """The name in the registry."""
    needs_encoder = True
    reads_spelling: ClassVar[bool] = False
    """Whether its vectors are meaning and spelling (`routers/parts/spelling.py`), or meaning alone."""
    has_std: ClassVar[bool] = False
    """Whether `predict(..., return_std=True)` works."""

    experts: Sequence[ExpertCard]
    encoder: Encoder
    fitted_experts_: tuple[str, ...]
    """The columns of `predict_vectors`."""
    added_: tuple[Onboarded, ...]
    """Experts that came after `fit`."""

    @property
    def experts_(self) -> tuple[str, ...]:
        """The columns of `predict`."""
        return self.fitted_experts_ + tuple(added.name for added in self.added_)

    def fit(self, outcomes: Sequence[Outcome] = ()) -> Self:
        """Given cards, these are the experts; those without a reward are added by their descriptions.

        Raises ValueError when there is nothing to learn from, or a reward is no number from 0 to 1.
        """
        table = RewardTable.of(outcomes, [card.name for card in self.experts] or None)
        table = table.only([table.experts[i] for i in np.flatnonzero(table.tried.any(axis=0))])
        self.fit_encoded(table, self.encode(table.queries))
        for card in self.experts:
            if card.name not in self.experts_:
                self.add_expert(card)
        return self

    def fit_encoded(self, table: RewardTable, vectors: FloatArray) -> Self:
        """`fit` with the queries' vectors `(n_queries, dimensions)` at hand, for the table's experts alone."""
        if not len(table):
            raise ValueError(f"a router of type '{self.type}' needs outcomes to learn from, got none with a reward")
        from threadpoolctl import threadpool_limits

        self.fitted_experts_, self.added_ = table.experts, ()
        # On one thread sums have one order, so that results don't depend on the machine; and a busy machine makes small products
        # on several threads a hundred times slower.
        with threadpool_limits(1):
            self.fit_table(table, vectors)
        return self

    def encode(self, queries: Sequence[str], reader: Encoder | None = None) -> FloatArray:
        """What the router reads of each query, `(n_queries, dimensions)`. reader: a cache of its encoder."""
        encoder = reader or self.encoder
        return with_spelling(encoder, queries) if self.reads_spelling else encoder.encode(queries)

    @property
    def dimensions(self) -> int:
        """Of what `encode` returns."""
        return self.encoder.dimensions + (SPELLING if self.reads_spelling else 0)

    @overload
    def predict(self, queries: Sequence[str]) -> FloatArray: ...
    @overload
    def predict(self, queries: Sequence[str], *, return_std: Literal[True]) -> tuple[FloatArray, FloatArray]: ...
    def predict(
        self, queries: Sequence[str], *, return_std: bool = False
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Expected reward 0..1, `(n_queries, n_experts)` float32; with `return_std` its standard error as well.

        Raises ValueError for `return_std` where the family has none.
        """
        if not queries:
            nothing = np.empty((0, len(self.experts_)), dtype=np.float32)
            return (nothing, nothing) if return_std else nothing
        return self.predict_encoded(self.encode(queries), return_std=return_std)

    @overload
    def predict_encoded(self, vectors: FloatArray) -> FloatArray: ...
    @overload
    def predict_encoded(
        self, vectors: FloatArray, *, return_std: bool
    ) -> FloatArray | tuple[FloatArray, FloatArray]: ...
    def predict_encoded(
        self, vectors: FloatArray, *, return_std: bool = False
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """`predict` with the queries' vectors at hand."""
        fitted = np.clip(self.predict_vectors(vectors), 0.0, 1.0)
        means = [fitted, *(added.predict(fitted) for added in self.added_)]
        mean: FloatArray = np.column_stack(means).astype(np.float32)
        if not return_std:
            return mean
        fitted_std = self.std_vectors(vectors)
        stds = [fitted_std, *(np.full(len(vectors), added.std) for added in self.added_)]
        return mean, np.column_stack(stds).astype(np.float32)

    def add_expert(self, card: ExpertCard, outcomes: Sequence[Outcome] = ()) -> None:
        """Route to one more expert without a refit: from its description, or better from a few outcomes that have it.

        Raises ValueError for one that is there already.
        """
        if card.name in self.experts_:
            raise ValueError(f"the router knows the expert '{card.name}' already")
        tried = [outcome for outcome in outcomes if card.name in outcome.rewards]
        queries = [outcome.query for outcome in tried]
        predicted = np.clip(self.predict_vectors(self.encode(queries)), 0.0, 1.0) if queries else None
        rewards = np.array([outcome.rewards[card.name] for outcome in tried], dtype=np.float32)
        self.added_ = (*self.added_, onboard(card.name, self._likeness(card), predicted, rewards))

    def _likeness(self, card: ExpertCard) -> FloatArray:
        """Shares `(n_fitted_experts,)` that sum to 1: how much the new expert's description is like each old one's."""
        texts = {known.name: described(known) for known in self.experts}
        known = [texts.get(name, "") for name in self.fitted_experts_]
        own = described(card)
        if not own or not any(known):
            return np.full(len(known), 1.0 / len(known), dtype=np.float32)
        vectors = self.encoder.encode([own, *known])
        cosines = np.where([bool(text) for text in known], vectors[1:] @ vectors[0], 0.0)
        shares = np.exp(10.0 * (cosines - cosines.max()))
        likeness: FloatArray = (shares / shares.sum()).astype(np.float32)
        return likeness

    @abstractmethod
    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        """Learn from at least one query; `vectors` are `(n_queries, dimensions)` float32 of length 1."""

    @abstractmethod
    def predict_vectors(self, vectors: FloatArray) -> FloatArray:
        """Expected reward `(n_queries, n_fitted_experts)`; the caller clips it to 0..1."""

    def std_vectors(self, vectors: FloatArray) -> FloatArray:
        """Standard error of `predict_vectors`, of the same shape."""
        raise ValueError(f"a router of type '{self.type}' has no uncertainty")


def described(card: ExpertCard) -> str:
    """What a card says of its expert, as one text."""
    return ". ".join(filter(None, (card.description, ", ".join(card.skills))))
