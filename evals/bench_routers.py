"""Routers on real outcomes: what each earns, and how much more than the best single expert, with 95% intervals.

    python -m evals.bench routers --only auto --only cluster

Every router is fitted on the training part of a protocol (`evals/protocols.py`) with its default parameters, and what it chooses is
looked up in the part held out. The baselines see the same parts: `best_single` is the expert with the highest mean reward in
training, `group_best` the best one of the query's group, which no router is told. `pooled` is the mean gain over the protocols
that measure reward, each counting once. Vectors of texts are computed once and kept in the model cache.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evals.metrics.calls import apgr, call_share, gap_recovered
from evals.metrics.cost_quality import aiq, cost_to_reach
from evals.protocols import Protocol, protocols
from routers.base import Encoder, FloatArray
from routers.data.costs import CostModel
from routers.data.table import RewardTable
from routers.families.learned import EncodedRouter
from routers.registry import ROUTERS, make_router, router_class
from routers.training.evaluation import Choice, choose, paired
from routers.training.yardsticks import TrainingSummary

BASELINES = ("random", "best_single", "group_best", "oracle")
LAMBDAS = np.concatenate(([0.0], np.geomspace(0.001, 100.0, 60)))
"""Reward given up per US cent, from no matter what it costs to nothing but what it costs."""
DECISIONS = 50
RESAMPLES = 2_000
POOLED = "pooled"
POOLED_METRICS = ("reward", "reward by group")
"""The other protocols are about costs and calls, and have measures of their own."""


@dataclass(frozen=True, slots=True)
class Row:
    """reward: mean x 100. gain: over `best_single`, paired, with its interval. largest: share of the expert chosen most.

    fit_s: of one fit, without encoding. decision_ms: of one query, without encoding, the median. extra: what else is measured.
    """

    protocol: str
    router: str
    n: int
    reward: float
    gain: float
    low: float
    high: float
    largest: float
    fit_s: float
    decision_ms: float
    extra: str = ""


@dataclass(frozen=True, slots=True)
class _Tested:
    """A protocol's test queries, fold after fold. rewards: `(n, n_experts)`, NaN where not tried. weights: `(n,)`, mean 1.

    single, group: columns `(n,)` of the best single expert and of the best of the query's group, as trained. queries: `(n,)`
    numbers, equal where cross-validation in rounds tested one query several times.
    """

    protocol: Protocol
    queries: NDArray[np.intp]
    rewards: FloatArray
    costs: FloatArray
    cents: FloatArray
    weights: FloatArray
    single: Choice
    group: Choice

    def earned(self, choice: Choice) -> FloatArray:
        """Weighted rewards, one per query, so that their plain mean is the protocol's metric."""
        rewards = self.weights * self.rewards[np.arange(len(choice)), choice]
        means = np.bincount(self.queries, rewards) / np.bincount(self.queries)
        return means.astype(np.float32)


def bench_routers(
    data: Path, encoder: Encoder, *, routers: Sequence[str], only: Sequence[str] = (), seed: int = 0
) -> Iterator[Row]:
    """Baselines and routers on every protocol (or those in `only`) whose files are in `data`, then what they gain on average."""
    gains: dict[str, list[FloatArray]] = {}
    for protocol in protocols(data, seed):
        if only and protocol.name not in only:
            continue
        tested = _tested(protocol)
        for name, choice in _baselines(tested).items():
            yield _row(tested, name, choice, gains)
        yield _oracle(tested)
        for name in routers:
            predicted, fit_s, decision_ms = _predicted(name, protocol, encoder)
            extra = _extra(tested, predicted)
            yield _row(tested, name, choose(predicted), gains, fit_s, decision_ms, extra)
    for name, differences in gains.items():
        if len(differences) > 1:
            yield _pooled(name, differences, seed)


def learning_types() -> tuple[str, ...]:
    """Router types that learn from outcomes."""
    return tuple(name for name in ROUTERS if hasattr(router_class(name), "fit_encoded"))


def _tested(protocol: Protocol) -> _Tested:
    tests = [test for _, test in protocol.splits]
    marks, cents = [], []
    for train, test in protocol.splits:
        if protocol.metric == "reward by group":
            train = _evened(train)
        found = TrainingSummary.of(train).yardsticks(test)
        assert found is not None, "train and test have the same experts"
        marks.append(found)
        costs = CostModel.fit(train)
        shape = (len(test), len(test.experts))
        cents.append(np.zeros(shape, np.float32) if costs is None else costs.predict(test.queries, test.experts))
    groups = np.concatenate([np.array(test.groups, dtype=str) for test in tests])
    asked = [id or query for test in tests for id, query in zip(test.ids, test.queries, strict=True)]
    return _Tested(
        protocol,
        np.unique(np.array(asked, dtype=object), return_inverse=True)[1],
        np.concatenate([test.rewards for test in tests]),
        np.concatenate([test.costs for test in tests]),
        np.concatenate(cents),
        _weights(groups) if protocol.metric == "reward by group" else np.ones(len(groups), dtype=np.float32),
        np.concatenate([mark.best_single for mark in marks]),
        np.concatenate([mark.group_best for mark in marks]),
    )


def _evened(train: RewardTable) -> RewardTable:
    """With weights by which every group counts the same, so that the best single expert is the best at what is measured."""
    weights = _weights(np.array(train.groups, dtype=str))
    return replace(train, weights=train.weights * weights[:, None])


def _weights(groups: np.ndarray[tuple[int], np.dtype[np.str_]]) -> FloatArray:
    """Every group counts the same, whatever its size."""
    _, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights: FloatArray = (len(groups) / (len(counts) * counts[numbers])).astype(np.float32)
    return weights


def _baselines(tested: _Tested) -> dict[str, Choice]:
    dice = np.random.default_rng(0)
    n, num_experts = tested.rewards.shape
    return {
        "random": np.array(dice.integers(0, num_experts, size=n), dtype=np.intp),
        "best_single": tested.single,
        "group_best": tested.group,
    }


def _oracle(tested: _Tested) -> Row:
    best = tested.earned(np.nan_to_num(tested.rewards, nan=-1.0).argmax(axis=1))
    nothing = float("nan")
    reward = float(100 * best.mean())
    return Row(tested.protocol.name, "oracle", len(best), reward, nothing, nothing, nothing, nothing, nothing, nothing)


def _predicted(name: str, protocol: Protocol, encoder: Encoder) -> tuple[FloatArray, float, float]:
    """Expected rewards of all test queries, and the medians of a fit in seconds and of a decision in milliseconds."""
    found, fits, decisions = [], [], []
    for train, test in protocol.splits:
        router = make_router(name, experts=(), encoder=encoder, parameters={})
        if not isinstance(router, EncodedRouter):
            raise TypeError(f"a router of type '{name}' does not learn from outcomes")
        vectors, asked = router.encode(train.queries), router.encode(test.queries)
        began = time.perf_counter()
        router.fit_encoded(train, vectors)
        fits.append(time.perf_counter() - began)
        found.append(router.predict_encoded(asked))
        for row in range(min(DECISIONS, len(asked))):
            began = time.perf_counter()
            router.predict_encoded(asked[row : row + 1])
            decisions.append(time.perf_counter() - began)
    return np.concatenate(found), float(np.median(fits)), float(np.median(decisions)) * 1e3


def _row(
    tested: _Tested,
    name: str,
    choice: Choice,
    gains: dict[str, list[FloatArray]],
    fit_s: float = float("nan"),
    decision_ms: float = float("nan"),
    extra: str = "",
) -> Row:
    earned, single = tested.earned(choice), tested.earned(tested.single)
    if tested.protocol.metric in POOLED_METRICS:
        gains.setdefault(name, []).append(earned - single)
    gain = paired(earned, single)
    return Row(
        protocol=tested.protocol.name,
        router=name,
        n=len(earned),
        reward=100 * float(np.nanmean(earned)),
        gain=100 * gain.mean,
        low=100 * gain.low,
        high=100 * gain.high,
        largest=float(np.bincount(choice).max() / len(choice)),
        fit_s=fit_s,
        decision_ms=decision_ms,
        extra=extra,
    )


def _extra(tested: _Tested, predicted: FloatArray) -> str:
    if tested.protocol.metric == "cost":
        return _cost_curve(tested, predicted)
    return _call_curve(tested, predicted) if tested.protocol.metric == "weak and strong" else ""


def _cost_curve(tested: _Tested, predicted: FloatArray) -> str:
    """AIQ x 100 over the range of the experts' mean costs, beside that of mixing single experts blindly (the zero router)."""
    rows = np.arange(len(predicted))
    choices = [choose(predicted, tested.cents, float(lambda_)) for lambda_ in LAMBDAS]
    costs = np.array([tested.costs[rows, choice].mean() for choice in choices], dtype=np.float64)
    qualities = np.array([tested.rewards[rows, choice].mean() for choice in choices], dtype=np.float64)
    single_costs, single_qualities = tested.costs.mean(axis=0).astype(np.float64), tested.rewards.mean(axis=0)
    low, high = single_costs.min(), single_costs.max()
    zero = aiq(single_costs, single_qualities.astype(np.float64), low, high)
    best = tested.earned(tested.single).mean()
    share = cost_to_reach(costs, qualities, float(best)) / tested.costs[rows, tested.single].mean()
    return (
        f"AIQ {100 * aiq(costs, qualities, low, high):.1f} (zero {100 * zero:.1f}), {share:.0%} of best single's cost"
    )


def _call_curve(tested: _Tested, predicted: FloatArray) -> str:
    """RouteLLM's measures; the strong expert is the one with the higher mean."""
    means = tested.rewards.mean(axis=0)
    weak, strong = int(means.argmin()), int(means.argmax())
    gain = (predicted[:, strong] - predicted[:, weak]).astype(np.float64)
    rewards = tested.rewards.astype(np.float64)
    recovered = gap_recovered(gain, rewards[:, weak], rewards[:, strong])
    shares = (call_share(recovered, target) for target in (0.5, 0.8))
    return "APGR {:.3f}, CPT50 {:.1%}, CPT80 {:.1%}".format(apgr(recovered), *shares)


def _pooled(name: str, gains: Sequence[FloatArray], seed: int) -> Row:
    """The mean of the protocols' gains, each counting once; queries are drawn anew within each protocol."""
    known = [gain[~np.isnan(gain)] for gain in gains]
    dice = np.random.default_rng(seed)
    draws = [[gain[dice.integers(0, len(gain), len(gain))].mean() for _ in range(RESAMPLES)] for gain in known]
    low, high = np.percentile(np.mean(draws, axis=0), [2.5, 97.5])
    mean = float(np.mean([gain.mean() for gain in known]))
    nothing, n = float("nan"), sum(map(len, known))
    return Row(POOLED, name, n, nothing, 100 * mean, 100 * float(low), 100 * float(high), nothing, nothing, nothing)
