"""Advice on a fleet: by hand on tiny tables, against brute force, and never better than it turns out to be."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evals.advice.advising import advise
from evals.advice.fleets import MAX_EXACT, best_fleets, fleet_values, routed, shapley_values
from evals.advice.text import advice_text
from evals.sweeps import nouns
from routers.data.table import RewardTable

UNITS = st.integers(0, 8).map(lambda eighths: eighths / 8)


@st.composite
def games(draw, most=5):
    """What a router prefers, with many ties, and what each answer is worth."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, most)))
    return tuple(draw(arrays(np.float32, shape, elements=UNITS)) for _ in range(2))


def measured(rewards, *, groups=None, costs=None, cents_per_unit=None, weights=None, queries=None):
    """One fold; experts are a, b, c, ..."""
    rewards = np.array(rewards, dtype=np.float32)
    n, k = rewards.shape
    table = RewardTable(
        tuple(queries or (f"query number {i}" for i in range(n))),
        tuple("abcdefghijklmnopqrstuvwxyz"[:k]),
        rewards,
        np.full((n, k), np.nan, np.float32) if costs is None else np.array(costs, dtype=np.float32),
        np.ones((n, k), np.float32),
        tuple(groups or (None,) * n),
        (None,) * n,
        (None,) * n,
    )
    cents = np.zeros((n, k)) if costs is None or cents_per_unit is None else np.nan_to_num(table.costs) * cents_per_unit
    return nouns.Tested(
        nouns.Setting("mine"),
        table,
        np.zeros(n, dtype=np.intp),
        cents.astype(np.float32),
        cents_per_unit,
        np.ones(n, dtype=np.float32) if weights is None else np.array(weights, dtype=np.float32),
        np.nanmean(rewards, axis=0, keepdims=True),
        np.full((1, k), np.nan, np.float32) if costs is None else table.costs.mean(axis=0, keepdims=True),
        np.zeros(n, dtype=np.intp),
    )


def run(predicted):
    return nouns.Run("mine", np.array(predicted, dtype=np.float32), 0.0, 0.0)


def specialists(n=40):
    """`a` is for the first half and `b` for the second; `c` is nearly as good everywhere but never chosen while both are there."""
    rewards = [[1.0, 0.0, 0.9] if i % 2 else [0.0, 1.0, 0.9] for i in range(n)]
    return measured(rewards, groups=[("even", "odd")[i % 2] for i in range(n)]), run(rewards)


@given(games())
def test_every_fleet_is_worth_what_its_choices_earn(game):
    preferred, utility = game
    values, rows = fleet_values(preferred, utility), np.arange(len(utility))
    assert values[0] == 0.0
    for fleet in range(1, len(values)):
        experts = np.flatnonzero(fleet >> np.arange(utility.shape[1]) & 1)
        assert values[fleet] == pytest.approx(utility[rows, routed(preferred, experts)].mean(dtype=float), abs=1e-9)


@given(games(most=4))
def test_a_shapley_value_is_the_mean_rise_over_all_orders(game):
    preferred, utility = game
    values, k = fleet_values(preferred, utility), utility.shape[1]
    expected = np.zeros(k)
    for order in itertools.permutations(range(k)):
        fleet = 0
        for expert in order:
            expected[expert] += values[fleet | 1 << expert] - values[fleet]
            fleet |= 1 << expert
    np.testing.assert_allclose(shapley_values(preferred, utility).mean(axis=0), expected / math.factorial(k), atol=1e-9)


@given(games())
def test_shapley_values_of_a_query_sum_to_what_the_fleet_earns_on_it(game):
    preferred, utility = game
    earned = utility[np.arange(len(utility)), preferred.argmax(axis=1)]
    np.testing.assert_allclose(shapley_values(preferred, utility).sum(axis=1), earned, atol=1e-9)


def test_shapley_values_by_hand():
    """A glove game: the preferred expert earns 1; behind it, one that earns 0.6 counts until the first joins."""
    np.testing.assert_allclose(
        shapley_values(np.float32([[0.9, 0.5]]), np.float32([[1.0, 0.6]])), [[0.7, 0.3]], atol=1e-7
    )


@given(games())
def test_no_fleet_of_a_size_is_better_than_the_best(game):
    preferred, utility = game
    values = fleet_values(preferred, utility)
    for size, best in enumerate(best_fleets(preferred, utility), start=1):
        assert len(best) == size
        rivals = [values[fleet] for fleet in range(len(values)) if fleet.bit_count() == size]
        assert values[(1 << best).sum()] == max(rivals)


def test_a_large_fleet_is_pruned_down_to_who_is_needed():
    dice = np.random.default_rng(0)
    utility = dice.random((200, MAX_EXACT + 4)).astype(np.float32) * 0.1
    utility[:100, 3] += 0.8
    utility[100:, 17] += 0.8
    fleets = best_fleets(utility, utility)
    assert [len(fleet) for fleet in fleets] == list(range(1, MAX_EXACT + 5))
    assert set(fleets[1]) == {3, 17}


def test_values_of_too_many_experts_are_refused():
    nothing = np.zeros((1, MAX_EXACT + 1), dtype=np.float32)
    with pytest.raises(ValueError, match=f"at most {MAX_EXACT} experts, got {MAX_EXACT + 1}"):
        fleet_values(nothing, nothing)


def test_an_expert_is_worth_what_is_lost_without_it():
    advice = advise(*specialists())
    losses = {value.expert: value.loss.mean for value in advice.experts}
    assert losses == pytest.approx({"a": 0.05, "b": 0.05, "c": 0.0})
    assert {value.expert: value.share for value in advice.experts} == {"a": 0.5, "b": 0.5, "c": 0.0}
    assert (
        sum(value.shapley.mean for value in advice.experts) == pytest.approx(advice.utility.mean) == pytest.approx(1.0)
    )


def test_the_smallest_fleet_gives_up_no_more_than_it_may():
    setting = specialists()
    assert advise(*setting, epsilon=0.2).smallest.experts == ("c",)
    assert advise(*setting, epsilon=0.2).smallest.loss.mean == pytest.approx(0.1)
    assert advise(*setting, epsilon=0.2).is_confirmed is True
    assert advise(*setting, epsilon=0.0).smallest.experts == ("a", "b")


def test_a_fleet_that_only_looked_good_where_it_was_chosen_is_found_out():
    """Twelve experts of pure luck: the best of them flatters itself on one half and is as good as the whole on the other."""
    dice = np.random.default_rng(3)
    rewards = (dice.random((400, 12)) < 0.5).astype(np.float32)
    errors, flattery = [], []
    for seed in range(8):
        advice = advise(measured(rewards), run(dice.random((400, 12))), epsilon=0.0, seed=seed)
        errors.append(np.mean([fleet.loss.mean for fleet in advice.fleets[3:9]]))
        flattery.append(np.mean([fleet.chosen_loss for fleet in advice.fleets[3:9]]))
    assert np.mean(flattery) < -0.05
    assert abs(np.mean(errors)) < 0.03


def test_equal_texts_never_choose_and_judge():
    rewards = [[1.0, 0.0]] * 30
    queries = [f"query {i % 10}" for i in range(30)]
    assert advise(measured(rewards, queries=queries), run(rewards)).num_choosing % 3 == 0


def test_a_dear_expert_is_let_go_when_lambda_rises():
    """`b` is better by 0.1 and costs 1 cent more."""
    setting = measured([[0.8, 0.9]] * 40, costs=[[0.0, 0.01]] * 40, cents_per_unit=100.0), run([[0.8, 0.9]] * 40)
    assert advise(*setting).smallest.experts == ("b",)
    assert advise(*setting, lambda_=0.2).smallest.experts == ("a",)
    assert advise(*setting, lambda_=0.05).utility.mean == pytest.approx(0.85)


def test_a_new_expert_needs_the_reward_that_is_earned_in_the_group_and_what_it_costs():
    rewards = [[0.2, 0.4]] * 10 + [[0.9, 0.5]] * 30
    setting = measured(rewards, groups=["sums"] * 10 + ["chats"] * 30), run([[0.9, 0.1]] * 40)
    sums, chats = advise(*setting, lambda_=0.5).groups
    assert (sums.group, sums.n, sums.share) == ("sums", 10, 0.25)
    assert sums.prize == pytest.approx(0.25 * 0.8)
    assert sums.oracle == pytest.approx(0.4)
    assert sums.break_even(cents=0.1) == pytest.approx(0.2 + 0.5 * 0.1)
    assert chats.prize == pytest.approx(0.75 * 0.1)


def test_groups_count_as_the_setting_weighs_them():
    weights = [2.0] * 10 + [2 / 3] * 30
    setting = measured([[0.2]] * 10 + [[0.9]] * 30, groups=["sums"] * 10 + ["chats"] * 30, weights=weights)
    advice = advise(setting, run([[0.5]] * 40))
    assert advice.utility.mean == pytest.approx(0.55)
    assert [need.share for need in advice.groups] == pytest.approx([0.5, 0.5])
    assert [need.utility.mean for need in advice.groups] == pytest.approx([0.2, 0.9])


def test_gaps_are_filled_without_favour():
    dice = np.random.default_rng(0)
    full = np.tile(np.float32([0.8, 0.4]), (400, 1))
    sparse = np.where(dice.random(full.shape) < 0.5, full, np.nan)
    sparse[np.isnan(sparse).all(axis=1), 0] = 0.8
    advice = advise(measured(sparse), run(full))
    assert advice.experts[0].expert == "a"
    assert advice.experts[0].loss.mean == pytest.approx(0.4, abs=0.02)


def test_a_fleet_of_one_earns_nothing_without_it():
    (only,) = advise(measured([[0.6]] * 40), run([[0.5]] * 40)).experts
    assert (only.loss.mean, only.shapley.mean) == pytest.approx((0.6, 0.6))


def test_the_same_seed_gives_the_same_advice():
    assert advise(*specialists(), seed=4) == advise(*specialists(), seed=4)


def test_costs_that_nobody_valued_are_refused_when_they_count():
    setting = measured([[1.0, 0.0]] * 40, costs=[[3.0, 4.0]] * 40)
    assert advise(setting, run([[1.0, 0.0]] * 40)).utility.mean == 1.0
    with pytest.raises(ValueError, match="say what a unit is worth"):
        advise(setting, run([[1.0, 0.0]] * 40), lambda_=0.1)


def test_one_query_is_too_few():
    with pytest.raises(ValueError, match="two halves, got 1"):
        advise(measured([[1.0, 0.0]]), run([[1.0, 0.0]]))


def test_the_text_says_who_can_go_and_what_pays():
    lines = advice_text(advise(*specialists(), epsilon=0.2))
    assert lines[0] == "mine, fleet all, router mine: reward 1.0000 (1.0000 to 1.0000)"
    text = "\n".join(lines)
    assert re.search(r"Smallest fleet, chosen on \d+ of 40 queries: c \(1 of 3\)", text)
    assert "gives up 0.1000 (0.1000 to 0.1000) of reward, so it is enough, to within 0.2." in text
    assert "  1: 0.1000 (0.1000 to 0.1000)  c\n  2: 0.0000 (0.0000 to 0.0000)  a, b\n" in text
    assert "  c: 0.0000 (0.0000 to 0.0000), no loss shown; sent 0.0%" in text
    assert "  even (50.0% of all): above 1.0000 (1.0000 to 1.0000); a perfect one adds 0.0000" in text
