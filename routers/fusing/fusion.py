"""Learned fusion: which expert to ask next, whether to ask at all, and which of the answers to believe.

    fusion = Fusion(encoder=encoder).fit(train)
    fused = fusion.fuse(test, Budget(mean_calls=3))           # many queries whose answers are recorded
    state = fusion.begin("What is 17 * 23?", Budget(max_calls=4))      # one, a call at a time: `routers/fusing/asking.py`

Experts are asked in the order of what is expected of them on the query (`skills.py`), answers are believed by camps (`camps.py`),
and asking ends when a further call isn't expected to bring what it costs (`stopping.py`, `pricing.py`). Each of these is learned
from what the one before it says of queries that it has not seen. Text and answers alone are used, never a query's group or target.
After Fusing Models with Complementary Expertise and its frugal variant (Wang et al. 2024, arXiv 2310.01542), with another rule for
when to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from routers.base import Encoder, FloatArray
from routers.data.splits import query_hash
from routers.families.tagged import TaggedRouter
from routers.fusing.budget import EVERYBODY, Budget, Rule
from routers.fusing.camps import Beliefs, Evidence, fit_beliefs
from routers.fusing.playing import Played, Reading, State, play_unseen, prefix, read_state, sequence
from routers.fusing.pricing import POWERS, Offers, Prices, Way, handicap
from routers.fusing.skills import Expected, Ranking, best_ranking, cross_fitted, inner_folds, overall
from routers.fusing.stopping import Course, Curve, Stopping, fit_stopping
from routers.fusing.table import AnswerTable, BoolArray, Fused, Rows

if TYPE_CHECKING:
    from routers.fusing.asking import Asking

SHOWN_CALLS = (2, 3, 4, 5, 6, 8)
"""Beliefs are learned from all answers of a query, and from the first so many."""
QUERY_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
FRUGAL_RANKINGS = tuple(Ranking(1.0, share) for share in QUERY_SHARES)
RETRY_RANKINGS = tuple(Ranking(usable, share) for usable in (1.0, 0.75, 0.5, 0.25) for share in QUERY_SHARES)


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
    prices_: Prices
    offers_: Offers
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
            self._learn(table, expected, folds)
        return self

    def rule(self, budget: Budget) -> Rule:
        """That keeps to the budget. Raises ValueError for a mean cost below that of one call, or where costs are not known."""
        free, one = np.zeros(len(self.experts_), dtype=np.float32), np.ones(len(self.experts_), dtype=np.float32)
        if budget.retry_unusable:
            return Rule(self.retry_ranking_, free, one, retry=True)
        if budget.mean_cost is not None:
            price = self.prices_.relative(self.experts_)
            power, threshold = self.offers_.best(budget.mean_cost)
            return Rule(self.ranking_, handicap(price, power), price, threshold)
        if budget.mean_calls is None or budget.mean_calls >= len(self.experts_):
            return Rule(self.ranking_, free, one)
        return Rule(self.ranking_, free, one, self.curve_.threshold(budget.mean_calls))

    def read(self, vectors: FloatArray, rule: Rule) -> Reading:
        """What is known of queries by what `encode` returned for them."""
        return self._reading(Expected.of(self.skills_.predict_encoded(vectors)), rule.ranking, rule.handicap)

    def fuse(self, table: AnswerTable, budget: Budget = EVERYBODY, *, vectors: FloatArray | None = None) -> Fused:
        """Play the recorded answers, one call after another. Experts that were not tried on a query are not asked.

        vectors: the queries', where they are at hand. Raises ValueError for experts that were not learned of, and as `rule` does.
        """
        rule = self.rule(budget)
        reading = self.read(self.encode(table.queries) if vectors is None else vectors, rule)
        full = table.widened(self.experts_)
        evidence = Evidence.of(full.answers, full.texts)
        order = reading.order
        calls = self._calls(evidence, reading, full.tried, rule, budget.max_calls)
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

    def begin(self, query: str, budget: Budget = EVERYBODY, *, experts: Sequence[str] | None = None) -> Asking:
        """The query's first expert, and what to make of the answers that come. experts: those that may be asked.

        Raises ValueError for experts that were not learned of, for none, and as `rule` does.
        """
        from routers.fusing.asking import Asking

        return Asking.begin(self, query, budget, self.experts_ if experts is None else experts)

    def state(self, evidence: Evidence, reading: Reading, feasible: BoolArray, asked: BoolArray) -> State:
        """How n queries stand, once these answers are there."""
        return read_state(self.beliefs_, evidence, reading, feasible, asked)

    def wants_more(self, state: State, expert: Rows, rule: Rule) -> BoolArray:
        """`(n,)`: whether a further call is worth it. expert: `(n,)`, who would be asked."""
        if rule.retry:
            return np.asarray(state.best < 0)
        return rule.wants_more(self.stopping_(state.features)[0], expert)

    def _reading(self, expected: Expected, ranking: Ranking, handicap: FloatArray | float = 0.0) -> Reading:
        return Reading(expected.strength, ranking.order(expected, self.overall_, handicap))

    def _calls(
        self, evidence: Evidence, reading: Reading, feasible: BoolArray, rule: Rule, max_calls: int | None
    ) -> Rows:
        """`(n,)`: how many calls are made."""
        most: Rows = np.minimum(feasible.sum(axis=1), max_calls or feasible.shape[1])
        if rule.is_exhaustive:
            return most
        following = sequence(reading.order, feasible)
        calls = np.ones(len(most), dtype=np.intp)
        going = np.flatnonzero(calls < most)
        while len(going):
            part = reading.rows(going)
            asked = prefix(part.order, feasible[going], calls[going])
            state = self.state(evidence.rows(going), part, feasible[going], asked)
            going = going[self.wants_more(state, following[going, calls[going]], rule)]
            calls[going] += 1
            going = going[calls[going] < most[going]]
        return calls

    def _learn(self, table: AnswerTable, expected: Expected, folds: Rows) -> None:
        """`beliefs_`; and from beliefs that have not seen the queries, `stopping_`, `curve_` and `offers_`."""
        evidence, reading = Evidence.of(table.answers, table.texts), self._reading(expected, self.ranking_)
        masks = [prefix(reading.order, table.tried, calls) for calls in (len(table.experts), *SHOWN_CALLS)]

        def learned_from(rows: Rows) -> Beliefs:
            shown = [mask[rows] for mask in masks]
            return fit_beliefs(evidence.rows(rows), reading.strength[rows], table.rewards[rows], shown)

        parts = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
        unseen = [learned_from(np.setdiff1d(np.arange(len(table)), part)) for part in parts]

        def play(reading: Reading) -> Played:
            return play_unseen(unseen, evidence, reading, table, parts)

        played = play(reading)
        self.beliefs_ = learned_from(np.arange(len(table)))
        self.stopping_ = fit_stopping(played)
        self.curve_ = Course.of_calls(self.stopping_, played).curve()[0]
        self.prices_, self.offers_ = Prices.of(table), Offers.none()
        if self.prices_.costs.keys() == set(table.experts):
            self.offers_ = Offers.of(self._way(power, table, expected, play) for power in POWERS)

    def _way(self, power: float, table: AnswerTable, expected: Expected, play: Callable[[Reading], Played]) -> Way:
        """How queries fare in the order of this power. play: by beliefs that have not seen them."""
        price = self.prices_.relative(self.experts_)
        reading = self._reading(expected, self.ranking_, handicap(price, power))
        asked = sequence(reading.order, table.tried)
        spent = np.take_along_axis(table.filled_costs(), asked, axis=1).cumsum(axis=1)
        course = Course.of(self.stopping_, play(reading), spent, price[np.roll(asked, -1, axis=1)])
        return Way(power, *course.curve())


def _hashes(queries: Sequence[str]) -> NDArray[np.int64]:
    return np.array([query_hash(query) for query in queries], dtype=np.uint64).view(np.int64)
