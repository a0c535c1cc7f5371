"""Whom to believe."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routers.fusing.camps import Camps, Evidence, camp_rewards, fit_beliefs, shares
from tests.support.recorded import recorded_answers


def evidence(*rows):
    answers = np.array(rows, dtype=np.object_)
    return Evidence.of(answers, answers)


def flat(known):
    return np.zeros(known.usable.shape, dtype=np.float32)


def everybody(known):
    return np.ones(known.usable.shape, dtype=np.bool_)


def test_those_who_conclude_the_same_are_a_camp():
    known = evidence(["x", "y", "x", None])
    camps = Camps.of(known, flat(known), everybody(known))
    assert camps.first.tolist() == [0, 1]
    assert camps.members.tolist() == [[True, False, True, False], [False, True, False, False]]


def test_an_answer_that_was_not_asked_for_is_in_no_camp():
    known = evidence(["x", "y", "x"])
    camps = Camps.of(known, flat(known), np.array([[False, True, True]]))
    assert camps.first.tolist() == [1, 2]
    assert camps.members.sum() == 2


def test_texts_resemble_each_other_by_the_words_they_share():
    likeness = evidence(["the cat sat", "the cat ran", "dogs", None]).likeness[0]
    assert likeness[0, 1] == pytest.approx(2 / 3)
    assert likeness[0, 2] == likeness[0, 3] == likeness[0, 0] == 0.0


def test_a_camp_earns_what_its_members_earn_on_average():
    known = evidence(["x", "x", "y", None])
    assert camp_rewards(known, np.array([[1.0, 0.5, 0.2, 0.9]])).tolist() == [[0.75, 0.75, pytest.approx(0.2), 0.0]]


def test_beliefs_learn_whom_to_believe_against_a_majority():
    table = recorded_answers({"sage": 0.95, "a": 0.3, "b": 0.3, "c": 0.3}, n=600)
    known = Evidence.of(table.answers, table.texts)
    beliefs = fit_beliefs(known, flat(known), table.rewards, [table.tried])
    divided = evidence(["x", "y", "y", "z"])
    assert shares(beliefs.scores(divided, flat(divided), everybody(divided)))[0].argmax() == 0


def test_where_nobody_is_ever_right_all_camps_are_alike():
    known = evidence(["x", "y"], ["x", "x"])
    beliefs = fit_beliefs(known, flat(known), np.zeros((2, 2), dtype=np.float32), [everybody(known)])
    assert shares(beliefs.scores(known, flat(known), everybody(known))).tolist() == [[0.5, 0.5], [1.0, 0.0]]


def test_without_a_usable_answer_nobody_is_believed():
    known = evidence([None, None])
    beliefs = fit_beliefs(known, flat(known), np.zeros((1, 2), dtype=np.float32), [everybody(known)])
    assert shares(beliefs.scores(known, flat(known), everybody(known))).tolist() == [[0.0, 0.0]]


@given(st.lists(st.lists(st.sampled_from(["x", "y", "z", None]), min_size=4, max_size=4), min_size=1, max_size=5))
def test_every_usable_answer_is_in_exactly_one_camp(rows):
    known = evidence(*rows)
    camps = Camps.of(known, flat(known), everybody(known))
    counted = np.zeros(known.usable.shape, dtype=int)
    np.add.at(counted, camps.row, camps.members.astype(int))
    assert (counted == known.usable).all()
    assert np.isfinite(camps.features).all()
