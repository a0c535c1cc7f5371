"""How many experts a query takes, and the replay that says what that comes to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routers.base import Outcome
from routers.depth import (
    SHARES,
    Depth,
    arbiters,
    can_sway,
    choose_depth,
    deepen,
    first_asked,
    is_settled,
    replay,
    stands,
)
from routers.fusing.table import AnswerTable
from routers.fusing.voting import alike
from routers.policy import Option, Settings, make_plan
from tests.support.recorded import recorded_answers

SKILLS = {"a": [0.8, 0.4], "b": [0.5, 0.7], "c": 0.6, "d": 0.5}


def row(*values):
    return np.array([values], dtype=np.float32)


def same(*conclusions):
    return alike(np.array([conclusions], dtype=np.object_))


def everybody(number):
    return np.ones((1, number), dtype=bool)


def expectations(table, seed=0):
    """Of a router that knows something: the reward, mostly noise."""
    dice = np.random.default_rng(seed)
    noisy = 0.1 * np.nan_to_num(table.rewards) + 0.5 + dice.normal(0, 0.1, table.rewards.shape)
    return np.clip(noisy, 0, 1).astype(np.float32)


def test_one_is_asked_where_it_is_sure_and_at_least_two_where_not():
    expected = np.array([[0.9, 0.2, 0.1], [0.5, 0.2, 0.1]], dtype=np.float32)
    asked = first_asked(expected, expected, Depth(sure=0.9, top_p=0.1))
    assert asked.tolist() == [[True, False, False], [True, True, False]]


def test_as_many_are_asked_as_reach_top_p_and_no_more_than_width():
    expected = row(0.5, 0.5, 0.5, 0.5, 0.5)
    assert first_asked(expected, expected, Depth(top_p=0.59)).sum() == 3
    assert first_asked(expected, expected, Depth(top_p=1.0)).sum() == 5
    assert first_asked(expected, expected, Depth(top_p=1.0, width=4)).sum() == 4


def test_utility_says_who_is_asked_and_reward_whether_it_is_sure():
    expected, utilities = row(0.9, 0.6, 0.5), row(0.2, 0.6, 0.5)
    assert first_asked(expected, utilities, Depth(sure=0.7, top_p=0.1)).tolist() == [[False, True, True]]
    assert first_asked(expected, utilities, Depth(sure=0.6)).tolist() == [[False, True, False]]


def test_who_cannot_be_asked_is_not():
    expected = row(0.5, -np.inf, -np.inf)
    assert first_asked(expected, expected, Depth()).tolist() == [[True, False, False]]


@pytest.mark.parametrize(
    ("conclusions", "settled"),
    [
        (("4", "4", "4"), True),
        (("4", "4", "5"), False),
        (("4", "4", None), True),
        (("4", None, None), False),
        ((None, None, None), False),
        (("4",), True),
        ((None,), True),
    ],
)
def test_all_who_can_be_understood_must_agree(conclusions, settled):
    assert is_settled(same(*conclusions), everybody(len(conclusions))).tolist() == [settled]


def test_who_was_not_asked_has_no_say():
    asked = np.array([[True, True, False]])
    assert is_settled(same("4", "4", "5"), asked).all()
    assert stands(same("5", "4", "4"), np.array([[True, False, False]]), row(0.1, 0.9, 0.9)) == 0


def test_the_best_of_the_weightiest_camp_stands():
    assert stands(same("5", "4", "4"), everybody(3), row(0.6, 0.5, 0.55)) == 2
    assert stands(same("5", "4", "4"), everybody(3), row(0.95, 0.5, 0.5)) == 0
    assert stands(same(None, "4", None), everybody(3), row(0.9, 0.1, 0.9)) == 1


def test_an_arbiter_is_the_best_of_the_others():
    assert arbiters(row(0.9, 0.5, 0.6), np.array([[True, False, False]])) == 2


@pytest.mark.parametrize(
    ("conclusions", "expected", "sways"),
    [
        (("4", "5", None), (0.6, 0.6, 0.5), True),
        (("4", "5", None), (0.9, 0.5, 0.5), False),
        (("4", None, None), (0.6, 0.6, 0.5), False),
        (("4", None, None), (0.6, 0.6, 0.7), True),
        ((None, None, None), (0.6, 0.6, 0.1), True),
    ],
    ids=["breaks a tie", "too weak", "one is understood, and better", "one is understood, and worse", "nobody is"],
)
def test_an_arbiter_is_asked_for_what_it_may_change(conclusions, expected, sways):
    asked = np.array([[True, True, False]])
    assert can_sway(same(*conclusions), asked, np.array([2]), row(*expected)).tolist() == [sways]


@given(st.data())
def test_who_cannot_sway_the_vote_does_not_whatever_it_concludes(data):
    expected = np.array([data.draw(st.lists(st.floats(0, 1), min_size=4, max_size=4))], dtype=np.float32)
    said = data.draw(st.lists(st.sampled_from(["4", "5", None]), min_size=3, max_size=3))
    asked = np.array([[True, True, True, False]])
    before = stands(same(*said, None), asked, expected)[0]
    if not can_sway(same(*said, None), asked, np.array([3]), expected)[0]:
        conclusion = data.draw(st.sampled_from(["4", "5", "6", None]))
        after = int(stands(same(*said, conclusion), everybody(4), expected)[0])
        assert ([*said, conclusion][after]) == said[before]


def test_a_plan_gets_a_gate_by_its_utilities():
    plan = make_plan([Option("a", 0.9, 5.0), Option("b", 0.6, 1.0), Option("c", 0.5)], Settings(lambda_=0.1))
    expected = {"a": 0.9, "b": 0.6, "c": 0.5}
    deep = deepen(plan, expected, Depth(sure=0.8, top_p=0.1))
    assert (deep.gate, deep.choices) == (("b", "c"), plan.choices)
    assert deep.reason == "b is expected to earn 0.60, less than 0.80, so 2 are asked"
    alone = deepen(plan, expected, Depth(sure=0.5))
    assert (alone.gate, alone.choices) == ((), plan.choices)


def three(*answers, target="4"):
    names = "abc"[: len(answers)]
    rewards = {name: float(said == target) for name, said in zip(names, answers, strict=True)}
    costs = dict(zip(names, (3.0, 2.0, 1.0), strict=False))
    return AnswerTable.from_outcomes(
        [Outcome("q", rewards, costs=costs, cost_unit="cents", answers=dict(zip(names, answers, strict=True)))]
    )


@pytest.mark.parametrize(
    ("answers", "depth", "panel", "came_to"),
    [
        (("4", "5", "5"), Depth(sure=0.6), (), (1.0, 1.0, 3.0)),
        (("5", "5", "4"), Depth(top_p=0.1), (), (0.0, 2.0, 5.0)),
        (("5", "4", "4"), Depth(top_p=0.1), (), (1.0, 3.0, 6.0)),
        (("4", None, "5"), Depth(top_p=0.1), (), (1.0, 2.0, 5.0)),
        (("5", "4", "4"), Depth(top_p=0.1), (1, 2), (1.0, 4.0, 8.0)),
        ((None, None, None), Depth(top_p=0.1), (), (0.0, 3.0, 6.0)),
    ],
    ids=["alone", "agreed, and wrong", "an arbiter", "nobody to agree with", "a panel", "nothing of use"],
)
def test_a_replay_adds_up(answers, depth, panel, came_to):
    found = replay(row(0.6, 0.55, 0.5), three(*answers), depth, panel=panel)
    assert (found.rewards[0], found.calls[0], found.costs[0]) == came_to


def test_an_expert_that_was_not_tried_is_never_asked():
    outcomes = [
        Outcome("q", {"a": 0.0, "b": 1.0}, answers={"a": "5", "b": "4"}),
        Outcome("r", {"c": 1.0}, answers={"c": "4"}),
    ]
    table = AnswerTable.from_outcomes(outcomes)
    found = replay(np.full((2, 3), 0.5, dtype=np.float32), table, Depth(top_p=1.0))
    assert found.calls.tolist() == [2.0, 1.0]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(1.0, 4.0), st.floats(0.0, 2.0))
def test_a_larger_budget_never_means_fewer_calls_and_none_is_exceeded(seed, budget, more):
    table = recorded_answers(SKILLS, n=60, seed=seed, silent=0.1)
    expected = expectations(table, seed)
    small, large = (choose_depth(expected, table, budget=most) for most in (budget, budget + more))
    assert small.calls <= budget + 1e-6
    assert large.calls >= small.calls - 1e-6
    assert large.reward >= small.reward - 1e-6


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.4, 0.7), st.floats(0.0, 0.1))
def test_a_higher_quality_takes_no_fewer_calls_and_is_met(seed, quality, more):
    table = recorded_answers(SKILLS, n=60, seed=seed)
    expected = expectations(table, seed)
    try:
        low, high = (choose_depth(expected, table, quality=least) for least in (quality, quality + more))
    except ValueError as error:
        assert "the best there is is a mean reward of" in str(error)
        return
    assert low.reward >= quality - 1e-6
    assert high.calls >= low.calls - 1e-6


def test_what_is_chosen_is_what_a_replay_comes_to():
    table = recorded_answers(SKILLS, n=300)
    expected = expectations(table)
    for panel in ((), (0, 1, 2, 3)):
        found = choose_depth(expected, table, budget=2.5, panel=panel)
        again = replay(expected, table, found.depth, panel=panel)
        assert found.depth.top_p in SHARES
        assert (found.reward, found.calls) == pytest.approx((again.rewards.mean(), again.calls.mean()), abs=1e-6)


def test_calls_buy_reward():
    table = recorded_answers(SKILLS, n=600)
    expected = expectations(table)
    alone, deep = (choose_depth(expected, table, budget=calls).reward for calls in (1.0, 3.5))
    assert deep > alone + 0.02


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({}, "either a quality or a budget"),
        ({"quality": 0.5, "budget": 2.0}, "either a quality or a budget"),
        ({"budget": 0.5}, "no depth meets the target: the best there is is 1 calls a query"),
        ({"quality": 1.0}, "a mean reward of 0"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(targets, message):
    table = recorded_answers(SKILLS, n=40)
    with pytest.raises(ValueError, match=message):
        choose_depth(expectations(table), table, **targets)


def test_without_queries_there_is_nothing_to_choose_by():
    table = recorded_answers(SKILLS, n=4).rows(np.array([], dtype=np.intp))
    with pytest.raises(ValueError, match="no query"):
        choose_depth(np.empty((0, 4), dtype=np.float32), table, budget=2.0)
