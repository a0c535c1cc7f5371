"""What it earns to decide by itself how many experts to ask: `python -m evals.bench depth`.

    rows = measure_depth("mmlupro10", table, encoder)
    rows[-1].policy, rows[-1].calls, rows[-1].accuracy      # ('adaptive, budget 5', 4.69, Interval(mean=0.60, ...))

Router `auto`, cross-validated: each fold is answered by a router fitted without it, at a depth chosen on the other folds. Each of
those gets its expectations from a router that has seen neither it nor the fold to be answered, so that a depth is chosen by
expectations much like those it will have. Beside it stand a vote of the router's best and the agreement gate, their settings
chosen on the same queries, at no more calls. Not here: the rules (`routers/depth.py`), and panels, whose answers no outcome holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from evals.fusion.base import Baseline
from evals.fusion.benchmark import answer_tables
from evals.fusion.gate import AgreementGate
from evals.fusion.matching import at_calls, best_settings
from evals.fusion.retrying import Retry
from evals.fusion.subsets import Skill, TopVote
from evals.markdown import markdown_table
from evals.protocols import FOLDS
from routers.base import Encoder, FloatArray
from routers.data.table import RewardTable
from routers.depth import choose_depth, replay
from routers.families.auto import AutoRouter
from routers.fusing.table import AnswerTable, Fused
from routers.training.evaluation import Interval, bootstrap, paired
from routers.training.holding_out import Rows, hold_out

BUDGETS = (2, 3, 4, 5)
"""Mean calls at most, on the queries that a depth is chosen by."""
ATTEMPTS = 4
"""Experts that are asked at most while answers are unusable, as by a policy's default `max_attempts`."""
ONE = "one expert"


@dataclass(frozen=True, slots=True)
class Row:
    """calls: per query, on average. accuracy: mean reward, 0..1. over_one: what it is ahead of the router's best expert by.

    over_vote, over_gate: of the weighted vote of the router's best, and of the agreement gate, with as many calls or fewer.
    """

    data: str
    n: int
    policy: str
    calls: float
    accuracy: Interval
    over_one: Interval
    over_vote: Interval
    over_gate: Interval


@dataclass(frozen=True, slots=True)
class _Scores:
    """Of one policy on n queries, `(n,)` each. vote, gate: rewards at as many calls or fewer."""

    rewards: FloatArray
    calls: FloatArray
    vote: FloatArray
    gate: FloatArray


def bench_depth(data: Path, encoder: Encoder, only: Sequence[str] = ()) -> Iterator[Row]:
    """data, only, and what is raised: as of `evals.fusion.benchmark.answer_tables`."""
    for name, table in answer_tables(data, only):
        yield from measure_depth(name, table, encoder)


def measure_depth(name: str, table: AnswerTable, encoder: Encoder, *, folds: int = FOLDS) -> list[Row]:
    """A row by policy. folds: at least 3. Raises ValueError unless every expert was tried on every query."""
    if not table.tried.all():
        raise ValueError("not every expert was tried on every query, expected outcomes without gaps")
    rewards = table.reward_table()
    parts = hold_out(rewards, folds=folds).parts
    found: dict[str, list[_Scores]] = {}
    for (train, test), expected in zip(parts, _expected(rewards, parts, encoder), strict=True):
        skill = _skill(table.queries, expected)
        for policy, scores in _fold(table.rows(train), table.rows(test), skill):
            found.setdefault(policy, []).append(scores)
    joined = {policy: _joined(of_folds) for policy, of_folds in found.items()}
    return [_row(name, policy, scores, joined[ONE]) for policy, scores in joined.items()]


def depth_table(rows: Sequence[Row]) -> str:
    """Markdown: a table for each data set, numbers times 100 but for calls, under a line that says what is in its cells."""
    names = dict.fromkeys(row.data for row in rows)
    return "\n\n".join(_table([row for row in rows if row.data == name]) for name in names) + "\n"


def _expected(table: RewardTable, parts: Sequence[tuple[Rows, Rows]], encoder: Encoder) -> list[FloatArray]:
    """By fold, `(n, m)` each: of its test rows by a router that was fitted to its training rows, and of those by others.

    A router for each pair of folds, fitted to all the others, serves both: what it expects of the one is for choosing what the
    other is answered with.
    """
    vectors = AutoRouter(encoder=encoder).encode(table.queries)
    found = [np.full(table.rewards.shape, np.nan, dtype=np.float32) for _ in parts]

    def fitted(rows: Rows) -> AutoRouter:
        return AutoRouter(encoder=encoder).fit_encoded(table.rows(rows), vectors[rows])

    for (train, test), expected in zip(parts, found, strict=True):
        expected[test] = fitted(train).predict_encoded(vectors[test])
    for ((train, test), expected), ((other_train, other_test), other_expected) in combinations(
        zip(parts, found, strict=True), 2
    ):
        router = fitted(np.intersect1d(train, other_train))
        expected[other_test] = router.predict_encoded(vectors[other_test])
        other_expected[test] = router.predict_encoded(vectors[test])
    return found


def _skill(queries: Sequence[str], expected: FloatArray) -> Skill:
    """What is expected of each of these queries, for policies that ask by query."""
    rows = dict(zip(queries, expected, strict=True))
    return lambda asked: np.stack([rows[query] for query in asked])


def _fold(train: AnswerTable, test: AnswerTable, skill: Skill) -> Iterator[tuple[str, _Scores]]:
    """How every policy does on the test part. skill: of both parts, by routers that have not seen the query."""
    vote, gate = (_best_curve(baseline.fit(train), train, test) for baseline in (TopVote(skill=skill), AgreementGate()))
    for policy, rewards, calls in _policies(train, test, skill):
        mean = float(calls.mean())
        others = (at_calls(curve, test, mean).rewards(test) for curve in (vote, gate))
        yield policy, _Scores(rewards, calls, *others)


def _best_curve(baseline: Baseline, train: AnswerTable, test: AnswerTable) -> list[Fused]:
    """The test part at the settings that earn most on the training part."""
    kept, curve = best_settings(baseline.curve(train), train), baseline.curve(test)
    return [curve[i] for i in kept]


def _policies(train: AnswerTable, test: AnswerTable, skill: Skill) -> Iterator[tuple[str, FloatArray, FloatArray]]:
    """Each one's rewards and calls on the test part, `(n,)`."""
    single, routed = (retry.fit(train).curve(test) for retry in (Retry(), Retry(skill=skill)))
    for policy, fused in {"best single": single[0], ONE: routed[0], "retry_unusable": routed[:ATTEMPTS][-1]}.items():
        yield policy, fused.rewards(test), fused.calls.astype(np.float32)
    for budget in BUDGETS:
        depth = choose_depth(skill(train.queries), train, budget=budget).depth
        replayed = replay(skill(test.queries), test, depth)
        yield f"adaptive, budget {budget}", replayed.rewards, replayed.calls


def _joined(parts: Sequence[_Scores]) -> _Scores:
    columns = ((part.rewards, part.calls, part.vote, part.gate) for part in parts)
    return _Scores(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _row(name: str, policy: str, scores: _Scores, one: _Scores) -> Row:
    return Row(
        data=name,
        n=len(scores.rewards),
        policy=policy,
        calls=float(scores.calls.mean()),
        accuracy=bootstrap(scores.rewards),
        over_one=paired(scores.rewards, one.rewards),
        over_vote=paired(scores.rewards, scores.vote),
        over_gate=paired(scores.rewards, scores.gate),
    )


def _table(rows: Sequence[Row]) -> str:
    told = (
        f"**{rows[0].data}**, {rows[0].n:,} queries: accuracy x 100; what is gained over one expert, and at no more calls over the "
        "weighted vote of the router's best and over the agreement gate; 95% intervals, of gains paired"
    )
    header = ("policy", "accuracy", "mean calls", "over one expert", "over the vote", "over the gate")
    lines = [
        (row.policy, _cell(row.accuracy), f"{row.calls:.2f}", *map(_gain, (row.over_one, row.over_vote, row.over_gate)))
        for row in rows
    ]
    return f"{told}\n\n{markdown_table(header, lines)}"


def _gain(interval: Interval) -> str:
    return ("+" if round(100 * interval.mean, 1) > 0 else "") + _cell(interval)


def _cell(interval: Interval) -> str:
    mean, low, high = (round(100 * value, 1) + 0.0 for value in (interval.mean, interval.low, interval.high))  # no -0.0
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"
