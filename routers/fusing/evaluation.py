"""What fusion earns on recorded answers, beside single experts and votes.

    reference = Reference.of(train)                             # goes into the artifact
    evaluate(fusion.fuse(test, budget), test, reference).gain   # Interval(0.07, 0.06, 0.08) over the best single expert
    cross_validate(train, vectors, encoder)["3 calls on average"].accuracy

Best single, group-best and the weights of votes are those of the training data. The oracle takes an answer that is right wherever
there is one. Not here: the terminal (`orchestrator/commands/fuse.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from routers.base import Encoder, FloatArray
from routers.fusing.budget import Budget
from routers.fusing.fusion import Fusion
from routers.fusing.skills import overall
from routers.fusing.table import AnswerTable, Fused, Rows
from routers.fusing.voting import coincidence, elect, log_odds, same_answers, usable
from routers.training.evaluation import Interval, bootstrap, paired
from routers.training.holding_out import hold_out
from routers.training.judging import Progress, quiet
from routers.training.yardsticks import TrainingSummary

FOLDS = 5
MEAN_CALLS = (5, 4, 3)


@dataclass(frozen=True, slots=True)
class Reference:
    """What fusion is measured against, from the training data. votes: the weight of each expert's vote."""

    summary: TrainingSummary
    votes: Mapping[str, float]

    @classmethod
    def of(cls, table: AnswerTable) -> Self:
        weights = log_odds(overall(table).right_if_usable[0], coincidence(table))
        votes = {name: float(weight) for name, weight in zip(table.experts, weights, strict=True)}
        return cls(TrainingSummary.of(table.reward_table()), votes)


@dataclass(frozen=True, slots=True)
class Baselines:
    """Rewards `(n,)` of the same queries, 0 for an unusable answer. best_single, group_best: NaN where not tried."""

    best_single: FloatArray
    group_best: FloatArray
    majority: FloatArray
    weighted_vote: FloatArray
    oracle: FloatArray

    @classmethod
    def of(cls, table: AnswerTable, reference: Reference) -> Self:
        """Raises ValueError when none of the table's experts is known to the reference."""
        known = reference.summary.yardsticks(table.reward_table())
        if known is None:
            raise ValueError("no expert of these outcomes was learned of")
        same, rows = same_answers(table), np.arange(len(table))
        rewards = np.where(usable(table), np.nan_to_num(table.rewards), np.float32(0.0))
        tried = np.where(table.tried, rewards, np.float32(np.nan))
        weights = np.array([reference.votes[name] for name in table.experts], dtype=np.float32)
        majority, weighted = (elect(same, table.tried, each) for each in (np.ones_like(weights), weights))
        return cls(
            best_single=tried[rows, known.best_single],
            group_best=tried[rows, known.group_best],
            majority=rewards[rows, majority],
            weighted_vote=rewards[rows, weighted],
            oracle=rewards.max(axis=1),
        )

    def means(self) -> dict[str, float | None]:
        """By name; None where nothing is known."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {name: None if np.isnan(each).all() else float(np.nanmean(each)) for name, each in found.items()}


class Took(NamedTuple):
    """What queries earned and took, `(n,)` each. costs: NaN where not known."""

    rewards: FloatArray
    calls: Rows
    costs: FloatArray

    @classmethod
    def of(cls, fused: Fused, table: AnswerTable) -> Self:
        return cls(fused.rewards(table), fused.calls, fused.costs(table))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """n: queries. accuracy: mean reward. gain: over the best single expert, where that was tried; None where it never was.

    cost_mean: of a query, in `cost_unit`; None where costs are not known.
    """

    n: int
    accuracy: Interval
    gain: Interval | None
    calls_mean: float
    calls_max: int
    cost_mean: float | None
    cost_unit: str
    baselines: Mapping[str, float | None]

    @classmethod
    def of(cls, took: Took, baselines: Baselines, cost_unit: str, seed: int = 0) -> Self:
        rewards, calls, costs = took
        compared = not np.isnan(baselines.best_single).all()
        return cls(
            n=len(rewards),
            accuracy=bootstrap(rewards, seed=seed),
            gain=paired(rewards, baselines.best_single, seed=seed) if compared else None,
            calls_mean=float(calls.mean()),
            calls_max=int(calls.max()),
            cost_mean=None if np.isnan(costs).any() else float(costs.mean()),
            cost_unit=cost_unit,
            baselines=baselines.means(),
        )


def evaluate(fused: Fused, table: AnswerTable, reference: Reference) -> Evaluation:
    """Of what a method made of the table."""
    return Evaluation.of(Took.of(fused, table), Baselines.of(table, reference), table.cost_unit)


def budgets(num_experts: int) -> dict[str, Budget]:
    """Those that a fusion is judged in, by name."""
    frugal = {f"{calls} calls on average": Budget(mean_calls=calls) for calls in MEAN_CALLS if calls < num_experts}
    return {"all calls": Budget(), **frugal, "one call, retried": Budget(retry_unusable=True)}


def cross_validate(
    table: AnswerTable, vectors: FloatArray, encoder: Encoder, *, seed: int = 0, progress: Progress = quiet
) -> dict[str, Evaluation]:
    """Of every query, by a fusion that has not seen it or its near-duplicates, for each of `budgets`.

    vectors: the queries'. Raises ValueError when queries are too few, or an expert was tried on too few of them.
    """
    held = hold_out(table.reward_table(), folds=FOLDS, seed=seed)
    if held.table.experts != table.experts:
        rare = [name for name in table.experts if name not in held.table.experts]
        raise ValueError(f"'{rare[0]}' was tried on too few queries to be judged: leave it out with --experts")
    settings = budgets(len(table.experts))
    took: dict[str, list[Took]] = {name: [] for name in settings}
    known: list[Baselines] = []
    for i, (train, test) in enumerate(held.parts):
        progress("fitting", i, len(held.parts))
        seen, unseen = table.rows(train), table.rows(test)
        fusion = Fusion(encoder=encoder).fit_encoded(seen, vectors[train])
        known.append(Baselines.of(unseen, Reference.of(seen)))
        for name, budget in settings.items():
            took[name].append(Took.of(fusion.fuse(unseen, budget, vectors=vectors[test]), unseen))
    baselines = Baselines(*(np.concatenate([getattr(each, name) for each in known]) for name in Baselines.__slots__))
    return {
        name: Evaluation.of(Took(*map(np.concatenate, zip(*each, strict=True))), baselines, table.cost_unit, seed)
        for name, each in took.items()
    }


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Intervals as `{"mean", "ci95"}`; `gain` is over the best single expert."""
    gain = evaluation.gain
    return {
        "n": evaluation.n,
        "accuracy": _interval(evaluation.accuracy),
        "gain": None if gain is None else _interval(gain),
        "calls_mean": evaluation.calls_mean,
        "calls_max": evaluation.calls_max,
        "cost_mean": evaluation.cost_mean,
        "cost_unit": evaluation.cost_unit,
        "baselines": dict(evaluation.baselines),
    }


def _interval(interval: Interval) -> dict[str, Any]:
    return {"mean": interval.mean, "ci95": [interval.low, interval.high]}
