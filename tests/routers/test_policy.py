"""The policy's promises, as properties over random options, waits and settings."""

import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from routers.policy import Choice, Option, Plan, Settings, bind, forgone, make_plan, propensities, propensity, utility

NAMES = ("a", "b", "c", "d")
FRACTIONS = st.integers(0, 20).map(lambda n: n / 20)
OPTIONS = st.lists(st.builds(Option, st.sampled_from(NAMES), FRACTIONS, st.floats(0, 10)), min_size=1, max_size=4).map(
    lambda options: list({option.expert: option for option in options}.values())
)
SETTINGS = st.builds(
    Settings, lambda_=st.floats(0, 5), mu=st.floats(0, 1), explore=FRACTIONS, near_tie=FRACTIONS, stay=FRACTIONS
)
WAITS = st.fixed_dictionaries({name: st.one_of(st.floats(0, 1000), st.just(math.inf)) for name in NAMES})
UNIFORM = st.floats(0, 1, exclude_max=True)
STAY = st.sampled_from([None, *NAMES])


def experts(plan):
    return [choice.expert for choice in plan.choices]


def test_utility_weighs_reward_cost_and_wait():
    assert utility(0.8, 2.0, 5.0, 0.1, 0.02) == pytest.approx(0.5)
    np.testing.assert_allclose(utility(np.array([0.8, 1.0]), np.array([2.0, 0.0]), np.zeros(2), 0.1, 0.02), [0.6, 1.0])


def test_the_plan_is_ordered_by_utility():
    plan = make_plan([Option("small", 0.7), Option("large", 0.8, cost_cents=0.9)], Settings(lambda_=0.2))
    assert experts(plan) == ["small", "large"]
    assert plan.choices[1].utility == pytest.approx(0.62)
    assert plan.reason == "small has the highest utility of 2"


def test_a_plan_needs_an_option():
    with pytest.raises(ValueError, match="at least one option"):
        make_plan([], Settings())


def test_a_reward_that_is_no_number_counts_as_nothing():
    plan = make_plan([Option("broken", math.nan), Option("bad", 0.1), Option("good", 0.9)], Settings())
    assert plan.choices == (Choice("good", 0.9), Choice("bad", 0.1), Choice("broken", 0.0))


def test_of_equals_the_earlier_option_is_first():
    assert experts(make_plan([Option("b", 0.5), Option("a", 0.5)], Settings())) == ["b", "a"]


@given(OPTIONS, SETTINGS, STAY, st.booleans(), UNIFORM)
def test_every_option_is_in_the_plan_once(options, settings, stay_with, tool_loop, uniform):
    plan = make_plan(options, settings, stay_with=stay_with, tool_loop=tool_loop, uniform=uniform)
    assert sorted(experts(plan)) == sorted(option.expert for option in options)
    assert plan.choices[0].utility == max(choice.utility for choice in plan.choices)


@given(OPTIONS, st.floats(0, 5), st.floats(0, 5))
def test_a_higher_lambda_never_chooses_a_dearer_expert(options, one, other):
    costs = {option.expert: option.cost_cents for option in options}
    low, high = sorted((one, other))
    frugal, lavish = (make_plan(options, Settings(lambda_=value)).choices[0].expert for value in (high, low))
    assert (high - low) * (costs[frugal] - costs[lavish]) <= 1e-9


@given(OPTIONS, SETTINGS, STAY, UNIFORM, WAITS)
def test_without_mu_waits_are_irrelevant(options, settings, stay_with, uniform, waits_s):
    plan = make_plan(options, replace(settings, mu=0.0), stay_with=stay_with, uniform=uniform)
    assert bind(plan.choices, waits_s, plan.mu) == plan.choices[0].expert


@given(OPTIONS, st.floats(0.01, 1), WAITS)
def test_a_longer_wait_never_attracts(options, mu, waits_s):
    plan = make_plan(options, Settings(mu=mu))
    bound = bind(plan.choices, waits_s, plan.mu)
    others = set(experts(plan)) - {bound}
    longer = {name: wait_s + (10.0 if name in others else 0.0) for name, wait_s in waits_s.items()}
    assert bind(plan.choices, longer, plan.mu) == bound


def test_binding_avoids_an_expert_that_will_never_come():
    choices = (Choice("best", 0.9), Choice("next", 0.1))
    assert bind(choices, {"best": math.inf}, 0.01) == "next"
    assert bind(choices, {"best": math.inf, "next": math.inf}, 0.01) == "best"


@given(OPTIONS, SETTINGS, STAY)
def test_a_conversation_leaves_only_for_a_gain_above_stay(options, settings, stay_with):
    plain = replace(settings, explore=0.0)
    before = {choice.expert: choice.utility for choice in make_plan(options, plain).choices}
    assume(stay_with in before)
    gain = max(before.values()) - before[stay_with]
    assume(abs(gain - settings.stay) > 1e-9)
    stays = make_plan(options, plain, stay_with=stay_with).choices[0].expert == stay_with
    assert stays == (gain < settings.stay)


def test_a_gain_of_exactly_stay_stays():
    options = [Option("new", 0.75), Option("old", 0.5)]
    plan = make_plan(options, Settings(stay=0.25), stay_with="old")
    assert plan.choices[0].expert == "old"
    assert plan.reason == "old already has this conversation"


@given(OPTIONS, SETTINGS, STAY, UNIFORM, WAITS)
def test_a_tool_loop_leaves_only_when_its_expert_is_no_option(options, settings, stay_with, uniform, waits_s):
    plan = make_plan(options, settings, stay_with=stay_with, tool_loop=True, uniform=uniform)
    if stay_with in experts(plan):
        assert bind(plan.choices, waits_s, plan.mu) == stay_with
        assert propensity(plan, waits_s, stay_with) == 1.0


@given(OPTIONS, SETTINGS, STAY, UNIFORM)
def test_exploration_happens_only_among_near_ties(options, settings, stay_with, uniform):
    plan = make_plan(options, settings, stay_with=stay_with, uniform=uniform)
    utilities = {choice.expert: choice.utility for choice in plan.ranking}
    best = max(utilities.values())
    assert all(utilities[tie] >= best - settings.near_tie for tie in plan.ties)
    if plan.draw is None:
        assert plan.choices == plan.ranking
    else:
        assert uniform < settings.explore
        assert plan.draw in plan.ties
        assert plan.choices[0].expert == plan.draw


def test_a_staying_conversation_does_not_explore():
    plan = make_plan([Option("a", 0.5), Option("b", 0.5)], Settings(explore=1.0), stay_with="b", uniform=0.0)
    assert (plan.draw, plan.ties) == (None, ())


@given(OPTIONS, SETTINGS, STAY, st.booleans(), UNIFORM, WAITS)
def test_propensities_sum_to_one(options, settings, stay_with, tool_loop, uniform, waits_s):
    plan = make_plan(options, settings, stay_with=stay_with, tool_loop=tool_loop, uniform=uniform)
    shares = {name: propensity(plan, waits_s, name) for name in experts(plan)}
    assert math.fsum(shares.values()) == pytest.approx(1.0)
    assert shares[bind(plan.choices, waits_s, plan.mu)] > 0.0


@given(OPTIONS, SETTINGS, UNIFORM, WAITS, st.data())
def test_after_a_failure_propensities_sum_to_one_over_those_left(options, settings, uniform, waits_s, data):
    plan = make_plan(options, settings, uniform=uniform)
    left = data.draw(st.lists(st.sampled_from(experts(plan)), min_size=1, unique=True))
    waits_left = {name: waits_s[name] for name in left}
    assert math.fsum(propensity(plan, waits_left, name) for name in left) == pytest.approx(1.0)
    bound = bind([choice for choice in plan.choices if choice.expert in left], waits_left, plan.mu)
    assert propensity(plan, waits_left, bound) > 0.0


@given(OPTIONS, SETTINGS, UNIFORM, WAITS, st.data())
def test_everybodys_propensities_are_told_at_once(options, settings, uniform, waits_s, data):
    plan = make_plan(options, settings, uniform=uniform)
    left = data.draw(st.lists(st.sampled_from(experts(plan)), min_size=1, unique=True))
    waits_left = {name: waits_s[name] for name in left}
    found = propensities(plan, waits_left, left[0])
    assert found == {name: propensity(plan, waits_left, name) for name in found}
    assert found.keys() == set(left)


def test_an_expert_called_by_name_has_propensity_one():
    assert propensity(Plan((Choice("only", 0.0),)), {"only": 3.0}, "only") == 1.0


@pytest.mark.parametrize("waits_s", [{}, {"a": 4.0}, {"a": 4.0, "b": 2.0}])
def test_the_frequency_of_draws_matches_the_propensity(waits_s):
    options = [Option("a", 0.8), Option("b", 0.79), Option("c", 0.77), Option("d", 0.2)]
    settings = Settings(mu=0.01, explore=0.4, near_tie=0.05)
    dice = random.Random(7)
    plans = [make_plan(options, settings, uniform=dice.random()) for _ in range(20_000)]
    waits_s = dict.fromkeys(NAMES, 0.0) | waits_s
    bound = Counter(bind(plan.choices, waits_s, plan.mu) for plan in plans)
    for name in NAMES:
        assert bound[name] / len(plans) == pytest.approx(propensity(plans[0], waits_s, name), abs=0.012)


def test_what_is_given_up_for_a_shorter_wait():
    choices = (Choice("best", 0.9), Choice("near", 0.8), Choice("far", 0.1))
    assert forgone(choices, {"best": 30.0, "near": 2.0, "far": 0.0}, "near") == (pytest.approx(0.1), 28.0)
    assert forgone(choices, {"near": 2.0, "far": 0.0}, "far") == (pytest.approx(0.7), 2.0)
    assert forgone(choices, {"best": 30.0, "near": 2.0}, "best") == (0.0, 0.0)


@given(OPTIONS, SETTINGS, st.fixed_dictionaries({name: st.floats(0, 1000) for name in NAMES}))
def test_nothing_is_given_up_that_waiting_would_not_have_cost(options, settings, waits):
    plan = make_plan(options, settings)
    regret, saved_s = forgone(plan.choices, waits, bind(plan.choices, waits, settings.mu))
    assert 0.0 <= regret <= settings.mu * saved_s + 1e-9
