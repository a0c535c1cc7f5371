"""Learned fusion beside its baselines: budgets, calls, gains and the table, with a contender that is known."""

import numpy as np
import pytest

from evals.fusion.comparison import ALL, LEARNED, compare
from evals.fusion.registry import BASELINES
from evals.fusion.report import comparison_table
from evals.fusion.subsets import TopVote
from routers.encoders import HashedEncoder
from tests.support.recorded import recorded_answers

TABLE = recorded_answers({"good": 0.7, "fair": 0.6, "other": 0.6, "weak": 0.4}, n=200, silent=0.05)


def top_votes(train, test):
    """All of them, and the best three."""
    curve = TopVote().fit(train).curve(test)
    return {ALL: curve[-1], "at most 3": curve[2]}


@pytest.fixture(scope="module")
def rows():
    return compare("votes", TABLE, top_votes, HashedEncoder(dimensions=64), folds=2)


def test_every_baseline_has_a_row_for_every_budget(rows):
    for budget in (ALL, "at most 3"):
        methods = [row.method for row in rows if row.budget == budget]
        assert methods[: len(BASELINES) + 1] == [LEARNED, *BASELINES]


def test_references_stand_beside_all_calls_alone(rows):
    assert {row.budget for row in rows if row.method in ("oracle", "best single", "group best", "majority")} == {ALL}


def test_no_baseline_makes_more_calls(rows):
    for row in rows:
        if row.method in BASELINES:
            limit = next(other.calls for other in rows if (other.method, other.budget) == (LEARNED, row.budget))
            assert row.calls <= limit + 1e-6


def test_a_gain_is_the_difference_on_the_same_queries(rows):
    for row in rows:
        learned = next(other for other in rows if (other.method, other.budget) == (LEARNED, row.budget))
        assert row.gain == pytest.approx(learned.accuracy - row.accuracy, abs=1e-6)
        assert row.gain_low <= row.gain <= row.gain_high
        assert row.n == len(TABLE)


def test_what_is_the_same_has_no_gain(rows):
    same = [row for row in rows if row.method in (LEARNED, "weighted vote")]
    assert [(row.gain, row.gain_low, row.gain_high) for row in same] == [(0.0, 0.0, 0.0)] * 3


def test_numbers_are_the_same_again(rows):
    assert compare("votes", TABLE, top_votes, HashedEncoder(dimensions=64), folds=2) == rows


def test_a_table_has_a_line_per_method_and_a_column_per_budget(rows):
    lines = comparison_table(rows).splitlines()
    assert "**votes**, 200 queries" in lines[0]
    assert lines[2] == f"|  | {ALL} | at most 3 |"
    assert len(lines) == 4 + len({row.method for row in rows})
    learned = next(row for row in rows if (row.method, row.budget) == (LEARNED, "at most 3"))
    assert f"**{100 * learned.accuracy:.1f}**" in lines[4]
    assert "3.00 calls" in lines[4]


def test_fewer_calls_than_learned_fusion_are_told(rows):
    retried = next(line for line in comparison_table(rows).splitlines() if line.startswith("| best single, retried"))
    assert retried.count("calls") == 2


def test_answers_with_gaps_are_refused():
    gaps = TABLE.tried.copy()
    gaps[0, 0] = False
    table = type(TABLE)(
        TABLE.queries,
        TABLE.experts,
        TABLE.answers,
        gaps,
        np.where(gaps, TABLE.rewards, np.nan).astype(np.float32),
        TABLE.costs,
        TABLE.groups,
        TABLE.texts,
    )
    with pytest.raises(ValueError, match="not every expert was tried on every query"):
        compare("votes", table, top_votes, HashedEncoder(dimensions=64))
