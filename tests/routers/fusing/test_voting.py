"""Who agrees with whom, whose vote weighs what, and who is elected."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routers.base import Outcome
from routers.fusing.table import AnswerTable
from routers.fusing.voting import coincidence, elect, log_odds, same_answers, support
from tests.support.recorded import recorded_answers


def table_of(*rows, target="A"):
    """One outcome per row of answers, experts named by their places."""
    named = [{str(i): answer for i, answer in enumerate(row)} for row in rows]
    return AnswerTable.from_outcomes(
        Outcome(f"query {i}", {name: float(answer == target) for name, answer in row.items()}, answers=row)
        for i, row in enumerate(named)
    )


def everybody(table):
    return np.ones(table.tried.shape, dtype=bool)


def test_those_who_conclude_alike_agree_and_the_silent_agree_with_nobody():
    same = same_answers(table_of(["A", "a", None, None]))[0]
    assert same.tolist() == [[True, True, False, False], [True, True, False, False], [False] * 4, [False] * 4]


def test_support_counts_only_those_asked():
    table = table_of(["A", "A", "B"])
    asked = np.array([[True, False, True]])
    assert support(same_answers(table), asked, np.array([1.0, 5.0, 2.0], dtype=np.float32)).tolist() == [
        [1.0, 1.0, 2.0]
    ]


def test_the_camp_with_the_most_weight_wins():
    table = table_of(["A", "A", "B"])
    chosen = elect(same_answers(table), everybody(table), np.array([1.0, 1.0, 3.0], dtype=np.float32))
    assert chosen.tolist() == [2]


def test_of_camps_of_one_size_that_of_the_weightiest_expert_wins():
    table = table_of(["A", "B"])
    chosen = elect(same_answers(table), everybody(table), np.array([1.0, 1.001], dtype=np.float32))
    assert chosen.tolist() == [1]


def test_the_silent_are_elected_only_where_all_are():
    table = table_of([None, "B", "A"], [None, None, None])
    asked = np.array([[True, True, False], [False, True, True]])
    chosen = elect(same_answers(table), asked, np.array([9.0, 1.0, 5.0], dtype=np.float32))
    assert chosen.tolist() == [1, 2]


@given(
    st.lists(st.lists(st.sampled_from(["A", "B", "C", None]), min_size=4, max_size=4), min_size=1, max_size=6),
    st.data(),
)
def test_whoever_is_elected_was_asked_and_speaks_if_anybody_does(rows, data):
    table = table_of(*rows)
    asked = np.array(
        data.draw(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=len(rows), max_size=len(rows)))
    )
    asked = np.column_stack([asked, np.ones(len(rows), dtype=bool)])
    chosen = elect(same_answers(table), asked, np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32))
    for row, expert in enumerate(chosen):
        assert asked[row, expert]
        speakers = [i for i in range(4) if asked[row, i] and rows[row][i] is not None]
        assert not speakers or expert in speakers


def test_a_vote_weighs_more_the_rarer_wrong_answers_coincide():
    skills = np.array([0.5], dtype=np.float32)
    assert log_odds(skills, 0.1) == pytest.approx(np.log(10))
    assert log_odds(skills, 1.0) == pytest.approx(0.01)  # of two options an even chance tells nothing


def test_certainty_has_a_limit():
    assert np.isfinite(log_odds(np.array([0.0, 1.0], dtype=np.float32), 0.5)).all()


def test_random_wrong_answers_of_six_options_coincide_once_in_five():
    assert coincidence(recorded_answers({"a": 0.2, "b": 0.3, "c": 0.1}, n=2_000)) == pytest.approx(0.2, abs=0.02)
