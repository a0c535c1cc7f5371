"""Recorded answers as arrays."""

import numpy as np
import pytest

from routers.base import Outcome
from routers.fusing.table import AnswerTable, Fused

OUTCOMES = [
    Outcome("6 x 7?", {"a": 1.0, "b": 1.0, "c": 0.0}, answers={"a": "42", "b": "It is 42.", "c": None}, group="sums"),
    Outcome("2 x 2?", {"a": 0.0, "b": 1.0}, answers={"a": "5", "b": "4"}, costs={"a": 0.5}),
]


def test_equal_conclusions_are_equal_and_texts_stay_as_written():
    table = AnswerTable.from_outcomes(OUTCOMES)
    assert table.experts == ("a", "b", "c")
    assert table.answers.tolist() == [["42", "42", None], ["5", "4", None]]
    assert table.texts[0].tolist() == ["42", "It is 42.", None]


def test_an_unusable_answer_was_tried_and_an_absent_one_was_not():
    table = AnswerTable.from_outcomes(OUTCOMES)
    assert table.tried[:, 2].tolist() == [True, False]
    assert table.rewards[0, 2] == 0.0
    assert np.isnan(table.rewards[1, 2])
    assert table.costs[1, 0] == 0.5


def test_a_reward_without_a_recorded_answer_does_not_count():
    table = AnswerTable.from_outcomes(
        [*OUTCOMES, Outcome("?", {"a": 1.0}), Outcome("!", {"a": 1.0}, answers={"b": "4"})]
    )
    assert table.queries == ("6 x 7?", "2 x 2?")


def test_outcomes_without_answers_are_refused():
    with pytest.raises(ValueError, match="outcomes with 'answers', got none"):
        AnswerTable.from_outcomes([Outcome("?", {"a": 1.0})])


def test_fewer_experts_agree_by_their_own_texts_alone():
    quoted = Outcome("?", {"a": 1.0, "b": 1.0, "c": 0.0}, answers={"a": "CW", "b": "cw", "c": "'x'"})
    table = AnswerTable.from_outcomes([quoted])
    assert table.answers[0].tolist() == ["CW", "cw", "x"]
    assert table.only(["b", "a"]).answers[0].tolist() == ["cw", "cw"]


def test_an_expert_that_no_outcome_has_is_refused():
    table = AnswerTable.from_outcomes(OUTCOMES)
    with pytest.raises(ValueError, match="no outcome has the expert 'z', expected some of a, b, c"):
        table.only(["z"])
    with pytest.raises(ValueError, match="'a' is unknown here, expected some of b, c"):
        table.widened(["b", "c"])


def test_widening_adds_experts_that_were_not_tried():
    wide = AnswerTable.from_outcomes(OUTCOMES).only(["a", "b"]).widened(["b", "z", "a"])
    assert wide.answers[1].tolist() == ["4", None, "5"]
    assert wide.tried[1].tolist() == [True, False, True]


def test_rows_are_chosen_by_position_or_by_mask():
    table = AnswerTable.from_outcomes(OUTCOMES)
    assert table.rows(np.array([1, 0])).queries == ("2 x 2?", "6 x 7?")
    assert table.rows(np.array([False, True])).groups == (None,)


def test_an_unusable_answer_earns_nothing_even_where_its_reward_says_otherwise():
    lucky = Outcome("?", {"a": 1.0, "b": 1.0}, answers={"a": None, "b": "x"})
    table = AnswerTable.from_outcomes([lucky, lucky])
    fused = Fused(np.array([0, 1]), np.array([[True, False], [True, True]]))
    assert fused.rewards(table).tolist() == [0.0, 1.0]
    assert fused.calls.tolist() == [1, 2]


def test_a_cost_that_is_not_known_is_the_experts_mean():
    costs = [{"a": 1.0, "b": 3.0}, {"a": 2.0}]
    answers = {"a": "x", "b": "y", "c": "z"}
    table = AnswerTable.from_outcomes(
        Outcome("?", dict.fromkeys(answers, 1.0), costs=c, answers=answers) for c in costs
    )
    assert table.mean_costs().tolist()[:2] == [1.5, 3.0]
    assert table.filled_costs()[:, :2].tolist() == [[1.0, 3.0], [2.0, 3.0]]
    asked = np.array([[True, False, False], [True, True, False]])
    assert Fused(np.array([0, 0]), asked).costs(table).tolist() == [1.0, 5.0]
    assert np.isnan(Fused(np.array([0, 0]), ~asked).costs(table)).all()


def test_the_unit_of_costs_stays_with_them():
    table = AnswerTable.from_outcomes(
        [Outcome("?", {"a": 1.0}, costs={"a": 9.0}, cost_unit="characters", answers={"a": "x"})]
    )
    narrowed = table.rows(np.array([0])).only(["a"]).widened(["a", "b"])
    assert narrowed.cost_unit == narrowed.reward_table().cost_unit == "characters"
