"""Learned fusion beside its baselines at equal mean calls, cross-validated on recorded answers.

    rows = compare("mmlupro10", table, contender, encoder)
    rows[1].method, rows[1].accuracy, rows[1].gain      # ('cascade routing', 0.59, 0.01)

For each budget, learned fusion makes the calls it makes; a baseline may make as many on average, in every fold, and not more. Its
gain is what learned fusion earns above it on the same queries, with the paired bootstrap interval. Not here: how a baseline is
brought to so many calls (`matching.py`), and the table for a README (`report.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np

from evals.fusion.matching import at_calls, best_settings
from evals.fusion.registry import BASELINES
from evals.fusion.retrying import Retry
from evals.fusion.skills import Skills
from evals.protocols import FOLDS
from routers.base import Encoder, FloatArray
from routers.fusing.evaluation import Baselines, Reference
from routers.fusing.table import AnswerTable, Fused
from routers.training.evaluation import bootstrap, paired
from routers.training.holding_out import hold_out

LEARNED = "learned fusion"
ALL = "all calls"
"""The budget without a limit, one of `routers.fusing.evaluation.budgets`; the methods without a knob stand beside it."""

Contender = Callable[[AnswerTable, AnswerTable], Mapping[str, Fused]]
"""The training and the test part to what learned fusion makes of the test part, by budget."""


@dataclass(frozen=True, slots=True)
class Row:
    """accuracy: mean reward, 0..1, with its 95% interval. gain: of learned fusion above the method, with the paired one.

    calls: per query, on average. The row of learned fusion itself has a gain of 0.
    """

    data: str
    n: int
    budget: str
    method: str
    calls: float
    accuracy: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float


@dataclass(frozen=True, slots=True)
class _Scores:
    """Of one method on n queries, `(n,)` each."""

    rewards: FloatArray
    calls: FloatArray

    @classmethod
    def of(cls, fused: Fused, table: AnswerTable) -> Self:
        return cls(fused.rewards(table), fused.calls.astype(np.float32))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        return cls(np.concatenate([part.rewards for part in parts]), np.concatenate([part.calls for part in parts]))


def compare(name: str, table: AnswerTable, contender: Contender, encoder: Encoder, *, folds: int = FOLDS) -> list[Row]:
    """Rows by budget, learned fusion first. Raises ValueError unless every expert was tried on every query."""
    if not table.tried.all():
        raise ValueError("not every expert was tried on every query, expected outcomes without gaps")
    found: dict[tuple[str, str], list[_Scores]] = {}
    for train, test in hold_out(table.reward_table(), folds=folds).parts:
        for key, scores_of_fold in _fold(table.rows(train), table.rows(test), contender, encoder):
            found.setdefault(key, []).append(scores_of_fold)
    scores = {key: _Scores.joined(parts) for key, parts in found.items()}
    return [
        _row(name, budget, method, scores[budget, method], scores[budget, LEARNED])
        for budget in dict.fromkeys(budget for budget, _ in scores)
        for method in dict.fromkeys(method for of_budget, method in scores if of_budget == budget)
    ]


def _fold(
    train: AnswerTable, test: AnswerTable, contender: Contender, encoder: Encoder
) -> Iterator[tuple[tuple[str, str], _Scores]]:
    """How every method does on the test part, by budget and method."""
    learned = contender(train, test)
    for budget, fused in learned.items():
        yield (budget, LEARNED), _Scores.of(fused, test)
    skills = Skills(encoder).fit(train)
    for method, make in BASELINES.items():
        baseline = make(skills).fit(train)
        kept = best_settings(baseline.curve(train), train)
        curve = baseline.curve(test)
        for budget, fused in learned.items():
            matched = at_calls([curve[i] for i in kept], test, float(fused.calls.mean()))
            yield (budget, method), _Scores.of(matched, test)
    yield (ALL, "router"), _Scores.of(Retry(skill=skills.routed).fit(train).curve(test)[0], test)
    for method, scores in _references(train, test):
        yield (ALL, method), scores


def _references(train: AnswerTable, test: AnswerTable) -> Iterator[tuple[str, _Scores]]:
    """What has no knob, `group best` knowing the true groups, and the oracle the rewards."""
    known = Baselines.of(test, Reference.of(train))
    for name, rewards in asdict(known).items():
        calls = len(test.experts) if name in ("majority", "weighted_vote") else 1
        yield name.replace("_", " "), _Scores(rewards, np.full(len(test), calls, dtype=np.float32))


def _row(name: str, budget: str, method: str, scores: _Scores, learned: _Scores) -> Row:
    accuracy, gain = bootstrap(scores.rewards), paired(learned.rewards, scores.rewards)
    return Row(
        data=name,
        n=len(scores.rewards),
        budget=budget,
        method=method,
        calls=float(scores.calls.mean()),
        accuracy=accuracy.mean,
        low=accuracy.low,
        high=accuracy.high,
        gain=gain.mean,
        gain_low=gain.low,
        gain_high=gain.high,
    )
