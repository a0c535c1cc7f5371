"""One setting of a sweep: what is measured in it, and what a router says there.

    prepared = prepare(Setting("mine"), data_set, experts=(), reader=encoder)
    prepared.tested                                     # Tested
    prepared.run("cluster").predicted                   # (n_queries, n_experts)

Texts are read once for all routers of a setting. Decisions are timed one query at a time with texts encoded, so that a router is
judged by what it does and not by the model that it shares with the others. Not here: processes (`running.py`), metrics (`rows.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from inspect import signature
from types import MappingProxyType
from typing import Protocol as Interface
from typing import cast

import numpy as np
from numpy.typing import NDArray

from evals.metrics.noise import NOISES, flip_rate
from evals.protocols import Protocol
from evals.sweeps.datasets import DataSet
from evals.sweeps.nouns import PARAPHRASE, Run, Setting, Tested
from routers.base import Encoder, FloatArray, Router
from routers.data.costs import CostModel
from routers.data.splits import query_hash
from routers.data.table import RewardTable
from routers.families.learned import EncodedRouter, LearnedRouter
from routers.registry import ROUTERS, make_router, router_class
from routers.training.evaluation import Choice, choose
from routers.training.yardsticks import TrainingSummary

DECISIONS = 50
"""Decisions that are timed in each fold, at most."""
NOISED = 200
"""Queries of a setting that noise is tried on, at most: the same ones for every router, seed and fleet."""
NOISE_SEED = 77
CENTS_PER_USD = 100.0


def learning_types() -> tuple[str, ...]:
    """Router types that learn from outcomes, which are those that a sweep is about."""
    return tuple(name for name in ROUTERS if hasattr(router_class(name), "fit_encoded"))


class _Learner(EncodedRouter, Router, Interface):
    """What every type that learns is."""


@dataclass
class Prepared:
    """reader: encodes texts, and keeps what it encoded. paraphrases: of queries, in other words."""

    protocol: Protocol
    tested: Tested
    reader: Encoder
    paraphrases: Mapping[str, str]
    _vectors: dict[str, FloatArray] = field(default_factory=dict)

    @cached_property
    def places(self) -> dict[str, int]:
        """Every text that a router reads, and where its vector stands."""
        return {text: place for place, text in enumerate(self.texts)}

    @cached_property
    def texts(self) -> list[str]:
        """Every text that routers will read, disturbed ones too, once."""
        asked = [query for split in self.protocol.splits for part in split for query in part.queries]
        disturbed = [text for fold in self._disturbed for each in fold for text in each.texts]
        return list(dict.fromkeys((*asked, *disturbed)))

    @cached_property
    def _disturbed(self) -> list[list[_Disturbed]]:
        """Of every fold, its test queries in other letters or words."""
        rows = _noised_rows(self.protocol)
        tests = [test.queries for _, test in self.protocol.splits]
        return [_disturbed(*each, self.paraphrases) for each in zip(tests, rows, strict=True)]

    def run(self, name: str) -> Run:
        """Fit the router in every fold and ask it. Raises ValueError where it can't be fitted."""
        found, fits, decisions = [], [], []
        flipped, tried = dict[str, float](), dict[str, int]()
        vectors = self._read(self._make(name))
        for (train, test), disturbed in zip(self.protocol.splits, self._disturbed, strict=True):
            router = self._make(name)
            seen, asked = vectors[self._at(train.queries)], vectors[self._at(test.queries)]
            began = time.perf_counter()
            router.fit_encoded(train, seen)
            fits.append(time.perf_counter() - began)
            found.append(_columns(router, asked, test.experts))
            decisions += _decision_times(router, asked)
            for kind, rows, texts in ((each.kind, each.rows, each.texts) for each in disturbed if each.texts):
                after = choose(_columns(router, vectors[self._at(texts)], test.experts))
                rate = flip_rate(choose(found[-1][rows]), after)
                flipped[kind] = flipped.get(kind, 0.0) + rate * len(texts)
                tried[kind] = tried.get(kind, 0) + len(texts)
        flips = {kind: count / tried[kind] for kind, count in flipped.items()}
        return Run(name, np.concatenate(found), float(np.median(fits)), 1e3 * float(np.median(decisions)), flips)

    def _make(self, name: str) -> _Learner:
        seed = {"seed": self.tested.setting.seed} if "seed" in signature(router_class(name)).parameters else {}
        router = make_router(name, experts=(), encoder=self.reader, parameters=seed)
        return cast(_Learner, router)

    def _read(self, router: EncodedRouter) -> FloatArray:
        """`(n_texts, dimensions)`, once for all routers that read in the same way."""
        shared = isinstance(router, LearnedRouter) and type(router).encode is LearnedRouter.encode
        key = f"spelling={getattr(router, 'reads_spelling', False)}" if shared else type(router).__name__
        if key not in self._vectors:
            self._vectors[key] = router.encode(tuple(self.places))
        return self._vectors[key]

    def _at(self, queries: Sequence[str]) -> list[int]:
        return [self.places[query] for query in queries]


def prepare(
    setting: Setting,
    data: DataSet,
    *,
    experts: Sequence[str] = (),
    reader: Encoder,
    usd_per_unit: float | None = None,
    paraphrases: Mapping[str, str] = MappingProxyType({}),
) -> Prepared:
    """experts: the setting's fleet. usd_per_unit: what costs are worth that aren't in USD.

    Raises ValueError for data that can't be split, or leave nothing to choose.
    """
    try:
        protocol = data.protocol(setting.seed, experts)
    except ValueError as exc:
        raise ValueError(f"{data.name}: {exc}") from exc
    if len(protocol.splits[0][0].experts) < 2:
        raise ValueError(f"{data.name}: has outcomes of one expert, expected two or more to choose among")
    return Prepared(protocol, _tested(setting, protocol, usd_per_unit), reader, paraphrases)


def _tested(setting: Setting, protocol: Protocol, usd_per_unit: float | None) -> Tested:
    table = RewardTable.joined([test for _, test in protocol.splits])
    cents_per_unit = _cents_per_unit(table, usd_per_unit)
    parts = [
        _learned(train, test, protocol.metric == "reward by group", cents_per_unit) for train, test in protocol.splits
    ]
    cents, rewards, costs, group_best = (list(column) for column in zip(*parts, strict=True))
    by_group = protocol.metric == "reward by group"
    return Tested(
        setting=setting,
        table=table,
        fold=np.repeat(np.arange(len(protocol.splits)), [len(test) for _, test in protocol.splits]),
        cents=np.concatenate(cents),
        cents_per_unit=cents_per_unit,
        weights=group_weights(table.groups) if by_group else np.ones(len(table), dtype=np.float32),
        trained_rewards=np.stack(rewards),
        trained_cents=np.stack(costs),
        group_best=np.concatenate(group_best),
        num_leaked=protocol.num_leaked,
        notes=(*protocol.notes, *_unpriced(table.experts, np.stack(costs))),
    )


def _unpriced(experts: Sequence[str], cents: FloatArray) -> list[str]:
    """Experts without costs where others have some."""
    unknown = [name for name, known in zip(experts, cents.T, strict=True) if np.isnan(known).any()]
    if not unknown or len(unknown) == len(experts):
        return []
    return [f"costs are left out, for want of any to learn from: {', '.join(unknown)}"]


def _cents_per_unit(table: RewardTable, usd_per_unit: float | None) -> float | None:
    if table.cost_unit == "usd":
        return CENTS_PER_USD
    return None if usd_per_unit is None else CENTS_PER_USD * usd_per_unit


def _learned(
    train: RewardTable, test: RewardTable, by_group: bool, cents_per_unit: float | None
) -> tuple[FloatArray, FloatArray, FloatArray, Choice]:
    """Expected cents of the test answers, the experts' mean rewards and cents in training, and the best of each query's group."""
    if by_group:
        train = replace(train, weights=train.weights * group_weights(train.groups)[:, None])
    # Where nobody said what a unit is worth, it counts as a cent: only the ranking of costs is used then.
    rate = (1.0 if cents_per_unit is None else cents_per_unit) / CENTS_PER_USD
    costs = CostModel.fit(train, usd_per_unit=rate)
    shape = (len(test), len(test.experts))
    cents = np.zeros(shape, np.float32) if costs is None else costs.predict(test.queries, test.experts)
    summary = TrainingSummary.of(train)
    marks = summary.yardsticks(test)
    assert marks is not None, "train and test have the same experts"
    spent = [summary.costs.get(name, np.nan) * rate * CENTS_PER_USD for name in test.experts]
    return cents, train.means, np.array(spent, dtype=np.float32), marks.group_best


def group_weights(groups: Sequence[str | None]) -> FloatArray:
    """`(n_queries,)`, mean 1, by which every group counts the same, whatever its size."""
    _, numbers, counts = np.unique(np.array(groups, dtype=str), return_inverse=True, return_counts=True)
    weights: FloatArray = (len(groups) / (len(counts) * counts[numbers])).astype(np.float32)
    return weights


def _columns(router: _Learner, vectors: FloatArray, experts: Sequence[str]) -> FloatArray:
    """In the table's order; an expert that was never tried in training, and so is not known, earns nothing."""
    predicted = router.predict_encoded(vectors)
    known = {name: i for i, name in enumerate(router.experts_)}
    if list(known) == list(experts):
        return predicted
    found = np.zeros((len(vectors), len(experts)), dtype=np.float32)
    for column, name in enumerate(experts):
        if name in known:
            found[:, column] = predicted[:, known[name]]
    return found


def _decision_times(router: EncodedRouter, vectors: FloatArray) -> list[float]:
    """Seconds, one query at a time."""
    times = []
    for row in range(min(DECISIONS, len(vectors))):
        began = time.perf_counter()
        router.predict_encoded(vectors[row : row + 1])
        times.append(time.perf_counter() - began)
    return times


def _noised_rows(protocol: Protocol) -> list[NDArray[np.intp]]:
    """Of each fold's test part, the rows that noise is tried on: `NOISED` queries in all, by their hashes."""
    hashes = [np.array([query_hash(query, NOISE_SEED) for query in test.queries]) for _, test in protocol.splits]
    every = np.sort(np.concatenate(hashes))
    return [np.flatnonzero(found <= every[min(NOISED, len(every)) - 1]) for found in hashes]


@dataclass(frozen=True, slots=True)
class _Disturbed:
    """kind: of noise, or `PARAPHRASE`. rows: of the test part. texts: as many."""

    kind: str
    rows: NDArray[np.intp]
    texts: list[str]


def _disturbed(queries: Sequence[str], rows: NDArray[np.intp], paraphrases: Mapping[str, str]) -> list[_Disturbed]:
    noised = [
        _Disturbed(kind, rows, [noise(queries[row], NOISE_SEED) for row in rows]) for kind, noise in NOISES.items()
    ]
    told = np.array([row for row, query in enumerate(queries) if query in paraphrases], dtype=np.intp)
    return [*noised, _Disturbed(PARAPHRASE, told, [paraphrases[queries[row]] for row in told])]
