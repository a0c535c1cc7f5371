"""Learned fusion: which expert to ask next, whether to ask at all, and which of the answers to believe.

    fusion = Fusion(encoder=encoder).fit(train)
    fused = fusion.fuse(test, Budget(mean_calls=3))           # many queries whose answers are recorded
    state = fusion.begin("What is 17 * 23?", Budget(max_calls=4))      # one, a call at a time: `routers/fusing/asking.py`

Experts are asked in the order of what is expected of them on the query (`skills.py`), answers are believed by camps (`camps.py`),
and asking ends when a further call isn't expected to bring what it costs (`stopping.py`). Each of the three is learned from what
the one before it says of queries that it has not seen. Text and answers alone are used, never a query's group or target. After
Fusing Models with Complementary Expertise and its frugal variant (Wang et al. 2024, arXiv 2310.01542), with another rule for when
to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from routers.base import Encoder, FloatArray
from routers.data.splits import query_hash
from routers.families.tagged import TaggedRouter
from routers.fusing.camps import Beliefs, Evidence, fit_beliefs
from routers.fusing.playing import Played, Reading, State, play, prefix, read_state
from routers.fusing.skills import Expected, Ranking, best_ranking, cross_fitted, inner_folds, overall
from routers.fusing.stopping import Curve, Stopping, fit_stopping
from routers.fusing.table import AnswerTable, BoolArray, Fused, Rows

if TYPE_CHECKING:
    from routers.fusing.asking import Asking

SHOWN_CALLS = (2, 3, 4, 5, 6, 8)
"""Beliefs are learned from all answers of a query, and from the first so many."""
QUERY_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
FRUGAL_RANKINGS = tuple(Ranking(1.0, share) for share in QUERY_SHARES)
RETRY_RANKINGS = tuple(Ranking(usable, share) for usable in (1.0, 0.75, 0.5, 0.25) for share in QUERY_SHARES)


@dataclass(frozen=True, slots=True)
class Budget:
    """max_calls: never more on a query. mean_calls: on average over queries like those learned from; None for all there are.

    retry_unusable: one call, and another only while no answer is usable. Raises ValueError for numbers below 1.
    """

    max_calls: int | None = None
    mean_calls: float | None = None
    retry_unusable: bool = False

    def __post_init__(self) -> None:
        for name in ("max_calls", "mean_calls"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise ValueError(f"{name}: expected 1 or more, got {value}")
        if self.retry_unusable and self.mean_calls is not None:
            raise ValueError("retry_unusable asks until an answer is usable: it takes max_calls, and no mean_calls")


class Fusion:
    """encoder: what queries are read with."""

    type: ClassVar[str] = "fusion"
    experts_: tuple[str, ...]
    skills_: TaggedRouter
    overall_: Expected
    """Of any query, `(1, m)`."""
    ranking_: Ranking
    retry_ranking_: Ranking
    beliefs_: Beliefs
    stopping_: Stopping
    curve_: Curve
    seen_: NDArray[np.int64]
    """Hashes of the queries that it learned from."""

    def __init__(self, *, encoder: Encoder) -> None:
        self.encoder = encoder

    def fit(self, table: AnswerTable) -> Self:
        return self.fit_encoded(table, self.encode(table.queries))

    def encode(self, queries: Sequence[str], reader: Encoder | None = None) -> FloatArray:
        """What is read of each query. reader: a cache of the encoder."""
        return TaggedRouter(encoder=self.encoder).encode(queries, reader)

    def fit_encoded(self, table: AnswerTable, vectors: FloatArray) -> Self:
        """`fit` with the queries' vectors at hand. Raises ValueError for an expert that was never tried."""
        for name, tried in zip(table.experts, table.tried.T, strict=True):
            if not tried.any():
                raise ValueError(f"the expert '{name}' was never tried: there is nothing to learn of it")
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):  # sums have one order then, and small products don't wait for other processes
            self.experts_, self.seen_ = table.experts, _hashes(table.queries)
            folds = inner_folds(table.reward_table())
            self.skills_, expected = cross_fitted(table, vectors, self.encoder, folds)
            self.overall_ = overall(table)
            self.ranking_ = best_ranking(table, expected, FRUGAL_RANKINGS, retry=False)
            self.retry_ranking_ = best_ranking(table, expected, RETRY_RANKINGS, retry=True)
            self._learn(table, self._reading(expected), folds)
        return self

    def read(self, vectors: FloatArray) -> Reading:
        """What is known of queries by what `encode` returned for them."""
        return self._reading(Expected.of(self.skills_.predict_encoded(vectors)))

    def fuse(self, table: AnswerTable, budget: Budget = Budget(), *, vectors: FloatArray | None = None) -> Fused:
        """Play the recorded answers, one call after another. Experts that were not tried on a query are not asked.

        vectors: the queries', where they are at hand. Raises ValueError for experts that were not learned of.
        """
        reading = self.read(self.encode(table.queries) if vectors is None else vectors)
        full = table.widened(self.experts_)
        evidence = Evidence.of(full.answers, full.texts)
        order = reading.retry_order if budget.retry_unusable else reading.order
        calls = self._calls(evidence, reading, full.tried, budget)
        asked = prefix(order, full.tried, calls)
        best = self.state(evidence, reading, full.tried, asked).best
        first = order[np.arange(len(order)), np.take_along_axis(asked, order, axis=1).argmax(axis=1)]
        chosen = np.where(best >= 0, best, first)
        columns = np.array([self.experts_.index(name) for name in table.experts])
        places = np.zeros(len(self.experts_), dtype=np.intp)
        places[columns] = np.arange(len(columns))
        return Fused(places[chosen], asked[:, columns])

    def has_seen(self, queries: Sequence[str]) -> BoolArray:
        """`(n,)`: which queries it learned from, but for case and white space."""
        return np.isin(_hashes(queries), self.seen_)

    def begin(self, query: str, budget: Budget = Budget(), *, experts: Sequence[str] | None = None) -> Asking:
        """The query's first expert, and what to make of the answers that come. experts: those that may be asked.

        Raises ValueError for experts that were not learned of, and for none.
        """
        from routers.fusing.asking import Asking

        return Asking.begin(self, query, budget, self.experts_ if experts is None else experts)

    def state(self, evidence: Evidence, reading: Reading, feasible: BoolArray, asked: BoolArray) -> State:
        """How n queries stand, once these answers are there."""
        return read_state(self.beliefs_, evidence, reading, feasible, asked)

    def wants_more(self, state: State, budget: Budget) -> BoolArray:
        """`(n,)`: whether a further call is worth it, so far as it is allowed."""
        if budget.retry_unusable:
            return np.asarray(state.best < 0)
        if budget.mean_calls is None or budget.mean_calls >= len(self.experts_):
            return np.ones(len(state.best), dtype=np.bool_)
        gain, _ = self.stopping_(state.features)
        return np.asarray(gain >= self.curve_.threshold(budget.mean_calls))

    def _reading(self, expected: Expected) -> Reading:
        orders = (ranking.order(expected, self.overall_) for ranking in (self.ranking_, self.retry_ranking_))
        return Reading(expected.strength, *orders)

    def _calls(self, evidence: Evidence, reading: Reading, feasible: BoolArray, budget: Budget) -> Rows:
        """`(n,)`: how many calls are made."""
        order = reading.retry_order if budget.retry_unusable else reading.order
        most: Rows = np.minimum(feasible.sum(axis=1), budget.max_calls or feasible.shape[1])
        if budget.mean_calls is None and not budget.retry_unusable:
            return most
        calls = np.ones(len(most), dtype=np.intp)
        going = np.flatnonzero(calls < most)
        while len(going):
            part = reading.rows(going)
            asked = prefix(order[going], feasible[going], calls[going])
            state = self.state(evidence.rows(going), part, feasible[going], asked)
            going = going[self.wants_more(state, budget)]
            calls[going] += 1
            going = going[calls[going] < most[going]]
        return calls

    def _learn(self, table: AnswerTable, reading: Reading, folds: Rows) -> None:
        """`beliefs_`; and from beliefs that have not seen the queries, `stopping_` and `curve_`."""
        evidence = Evidence.of(table.answers, table.texts)
        masks = [prefix(reading.order, table.tried, calls) for calls in (len(table.experts), *SHOWN_CALLS)]
        played = Played.empty(*table.rewards.shape)
        for fold in np.unique(folds):
            seen, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            shown = [mask[seen] for mask in masks]
            beliefs = fit_beliefs(evidence.rows(seen), reading.strength[seen], table.rewards[seen], shown)
            played.put(unseen, play(beliefs, evidence.rows(unseen), reading.rows(unseen), table.rows(unseen)))
        self.beliefs_ = fit_beliefs(evidence, reading.strength, table.rewards, masks)
        self.stopping_ = fit_stopping(played)
        self.curve_ = Curve.of(self.stopping_, played)


def _hashes(queries: Sequence[str]) -> NDArray[np.int64]:
    return np.array([query_hash(query) for query in queries], dtype=np.uint64).view(np.int64)
