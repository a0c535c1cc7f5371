"""A router's score on outcomes that it did not learn from, next to what it must beat, as numbers and as JSON.

    yardsticks = TrainingSummary.of(train).yardsticks(test)
    evaluation = evaluate(router.predict(test.queries), test, yardsticks)
    evaluation.reward, evaluation.gain            # Interval(0.66, ...), Interval(0.03, ...) over the best single expert
    as_json(evaluation)["baselines"]["group_best"]

The oracle knows each answer's reward: it is a bound, most of it luck, and no goal. Not here: the terminal
(`orchestrator/commands/reports.py`), the statistics (`evaluation.py`), the yardsticks (`yardsticks.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from routers.base import FloatArray
from routers.data.table import RewardTable
from routers.training.evaluation import (
    Calibration,
    Choice,
    Interval,
    bootstrap,
    calibration,
    choose,
    completed,
    earned,
    entropy_bits,
    paired,
)
from routers.training.yardsticks import Yardsticks


@dataclass(frozen=True, slots=True)
class Prices:
    """How costs enter a choice. expected: US cents `(n_queries, n_experts)`. cents_per_unit: what the table's costs are worth."""

    lambda_: float
    expected: FloatArray
    cents_per_unit: float


@dataclass(frozen=True, slots=True)
class Utility:
    """`reward - lambda * cents` per query: of the router, of the expert that was best by it in training, and the difference."""

    lambda_: float
    router: Interval
    best_single: float
    gain: Interval


@dataclass(frozen=True, slots=True)
class Cost:
    """Mean cost of a query in `unit`: of the router's choices, and of the best single expert."""

    unit: str
    mean: float
    best_single: float | None


@dataclass(frozen=True, slots=True)
class GroupScore:
    """n: queries of the group. best_single: the reward of the expert that was best over all groups in training."""

    n: int
    reward: float
    best_single: float | None


@dataclass(frozen=True, slots=True)
class DecisionTime:
    """Milliseconds for one query at a time, once everything is in memory."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """n: queries; num_tried: those on which the router's choice had been tried; elsewhere its reward is estimated.

    baselines: mean rewards, None where unknown; `shuffled` keeps the router's shares and ignores the queries, so what the router
    earns above it is what reading the query is worth at the same cost. gain: over best single. share: of the queries, by expert.
    """

    n: int
    num_tried: int
    reward: Interval
    baselines: Mapping[str, float | None]
    best_single: str | None
    gain: Interval | None
    share: Mapping[str, float]
    entropy_bits: float
    by_group: Mapping[str, GroupScore]
    calibration: Mapping[str, Calibration]
    cost: Cost | None = None
    utility: Utility | None = None
    decision_ms: DecisionTime | None = None

    @property
    def deciding_gain(self) -> Interval | None:
        """What the router is judged by: the gain in utility where costs count, else in reward."""
        return self.gain if self.utility is None else self.utility.gain


def evaluate(
    predictions: FloatArray,
    table: RewardTable,
    yardsticks: Yardsticks | None = None,
    *,
    prices: Prices | None = None,
    decision_ms: DecisionTime | None = None,
    seed: int = 0,
) -> Evaluation:
    """predictions: expected rewards `(n_queries, n_experts)`, columns as the table's. Without `prices` costs don't count."""
    choice = choose(predictions) if prices is None else choose(predictions, prices.expected, prices.lambda_)
    full = completed(table, predictions)
    rewards = earned(full, choice)
    shares = (np.bincount(choice, minlength=len(table.experts)) / len(table)).astype(np.float32)
    single = None if yardsticks is None else yardsticks.best_single
    return Evaluation(
        n=len(table),
        num_tried=int((~np.isnan(earned(table, choice))).sum()),
        reward=bootstrap(rewards, seed=seed),
        baselines=_baselines(table, full, yardsticks, shares),
        best_single=None if single is None else table.experts[int(np.bincount(single).argmax())],
        gain=None if single is None else paired(rewards, earned(full, single), seed=seed),
        share={name: float(share) for name, share in zip(table.experts, shares, strict=True)},
        entropy_bits=entropy_bits(shares),
        by_group=_by_group(full, choice, single),
        calibration=calibration(predictions, table),
        cost=_cost(table, choice, single),
        utility=None if prices is None or yardsticks is None else _utility(full, choice, yardsticks, prices, seed),
        decision_ms=decision_ms,
    )


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """What `switchyard evaluate --json` prints: intervals as `{"mean", "ci95"}`, everything else by its name."""
    body: dict[str, Any] = _jsonable(asdict(evaluation))
    if body["utility"] is not None:
        body["utility"]["lambda"] = body["utility"].pop("lambda_")
    return body


def _jsonable(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if value.keys() == {"mean", "low", "high"}:
        return {"mean": value["mean"], "ci95": [value["low"], value["high"]]}
    return {key: _jsonable(item) for key, item in value.items()}


def _mean_earned(full: RewardTable, choice: Choice | None) -> float | None:
    return None if choice is None else float(earned(full, choice).mean())


def _baselines(
    table: RewardTable, full: RewardTable, yardsticks: Yardsticks | None, shares: FloatArray
) -> dict[str, float | None]:
    return {
        "random": float(full.rewards.mean()),
        "best_single": _mean_earned(full, None if yardsticks is None else yardsticks.best_single),
        "group_best": _mean_earned(full, None if yardsticks is None else yardsticks.group_best),
        "shuffled": float(full.rewards.mean(axis=0) @ shares),
        "oracle": float(np.nanmax(table.rewards, axis=1).mean()),
    }


def _by_group(full: RewardTable, choice: Choice, single: Choice | None) -> dict[str, GroupScore]:
    groups = np.array(full.groups, dtype=object)
    scores = {}
    for group in sorted({group for group in full.groups if group is not None}):
        rows = np.flatnonzero(groups == group)
        part = full.rows(rows)
        best = _mean_earned(part, None if single is None else single[rows])
        scores[group] = GroupScore(len(rows), float(earned(part, choice[rows]).mean()), best)
    return scores


def _cost(table: RewardTable, choice: Choice, single: Choice | None) -> Cost | None:
    """Over the queries for which it is known; None when there are none."""
    router = _mean_known(table.costs, choice)
    return None if router is None else Cost(table.cost_unit, router, _mean_known(table.costs, single))


def _mean_known(costs: FloatArray, choice: Choice | None) -> float | None:
    known = costs[np.arange(len(costs)), choice] if choice is not None else np.empty(0)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else None


def _utility(full: RewardTable, choice: Choice, yardsticks: Yardsticks, prices: Prices, seed: int) -> Utility:
    """A cost that is not known is the expected one, and none where nothing is expected, as when choosing."""
    cents = np.where(np.isnan(full.costs), prices.expected, full.costs * prices.cents_per_unit)
    worth: FloatArray = (full.rewards - prices.lambda_ * np.nan_to_num(cents)).astype(np.float32)
    values = replace(full, rewards=worth)
    router, single = earned(values, choice), earned(values, yardsticks.best_by_utility)
    gain = paired(router, single, seed=seed)
    return Utility(prices.lambda_, bootstrap(router, seed=seed), float(single.mean()), gain)
