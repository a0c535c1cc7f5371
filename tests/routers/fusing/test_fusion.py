"""Learned fusion of recorded answers: what it earns, in how many calls, and what it must not know."""

from dataclasses import replace

import numpy as np
import pytest

from routers.base import Outcome
from routers.encoders import HashedEncoder
from routers.fusing.budget import Budget
from routers.fusing.fusion import Fusion
from routers.fusing.table import AnswerTable
from tests.routers.fusing.conftest import SKILLS
from tests.support.recorded import recorded_answers, recorded_outcomes


def earned(fusion, table, **budget):
    return fusion.fuse(table, Budget(**budget)).rewards(table).mean()


def test_fusing_all_answers_beats_every_expert(fusion, unseen):
    assert earned(fusion, unseen) > unseen.rewards.mean(axis=0).max() + 0.1


def test_who_is_asked_first_depends_on_the_query(fusion, unseen):
    fused = fusion.fuse(unseen, Budget(max_calls=1))
    asked = {group: fused.asked[[g == group for g in unseen.groups]].mean(axis=0) for group in ("algebra", "poetry")}
    assert asked["algebra"][1] > 0.8
    assert asked["poetry"][2] > 0.8


@pytest.mark.parametrize("most", [1, 2, 4, 9])
def test_never_more_calls_than_allowed(fusion, unseen, most):
    assert fusion.fuse(unseen, Budget(max_calls=most)).calls.max() == min(most, 5)
    assert fusion.fuse(unseen, Budget(max_calls=most, mean_calls=4)).calls.max() <= most


@pytest.mark.parametrize("mean", [1.0, 1.5, 2, 3, 4])
def test_mean_calls_hold_on_new_queries(fusion, unseen, mean):
    assert fusion.fuse(unseen, Budget(mean_calls=mean)).calls.mean() <= mean


@pytest.mark.parametrize("mean", [1.2, 2.0, 3.5, 5.5])
def test_mean_cost_holds_on_new_queries(fusion, unseen, mean):
    fused = fusion.fuse(unseen, Budget(mean_cost=mean))
    assert fused.costs(unseen).mean() <= mean
    assert fused.asked.any(axis=1).all()


def test_for_the_same_money_a_mean_cost_earns_more_than_mean_calls():
    skills, costs = {"dear": 0.75, "a": 0.6, "b": 0.6, "c": 0.6}, {"dear": 9.0, "a": 1.0, "b": 1.0, "c": 1.0}
    fusion = Fusion(encoder=HashedEncoder(64)).fit(recorded_answers(skills, n=500, costs=costs))
    new = recorded_answers(skills, n=400, seed=1, costs=costs)
    calls, cost = fusion.fuse(new, Budget(mean_calls=1.5)), fusion.fuse(new, Budget(mean_cost=8.0))
    assert cost.costs(new).mean() < 8.0 < calls.costs(new).mean()
    assert cost.rewards(new).mean() > calls.rewards(new).mean() + 0.05


def test_more_mean_cost_than_all_experts_take_is_all_of_them(fusion, unseen):
    assert fusion.fuse(unseen, Budget(mean_cost=9.0)).asked.all()


def test_a_mean_cost_that_one_call_exceeds_is_refused():
    costs = {"dear": 5.0, "cheap": 1.0}
    fusion = Fusion(encoder=HashedEncoder(64)).fit(recorded_answers({"dear": 0.9, "cheap": 0.6}, costs=costs))
    assert fusion.rule(Budget(mean_cost=1.2)).wants_more(np.array([1.0]), np.array([0])).tolist() == [False]
    with pytest.raises(
        ValueError, match=r"mean_cost: one call a query takes 1\.\d+ with the cheapest expert, got 0\.9"
    ):
        fusion.rule(Budget(mean_cost=0.9))


def test_a_mean_cost_takes_known_costs():
    table = recorded_answers({"a": 0.5, "b": 0.5}, n=100, costs={"a": 1.0})
    with pytest.raises(ValueError, match="what a call to 'b' costs is not known"):
        Fusion(encoder=HashedEncoder(64)).fit(table).fuse(table, Budget(mean_cost=1.0))


def test_frugal_fusion_earns_nearly_as_much_and_more_than_as_many_fixed_calls(fusion, unseen):
    assert earned(fusion, unseen, mean_calls=3) > earned(fusion, unseen) - 0.02
    assert earned(fusion, unseen, mean_calls=3) > earned(fusion, unseen, max_calls=2)


def test_more_mean_calls_than_experts_is_all_of_them(fusion, unseen):
    assert (fusion.fuse(unseen, Budget(mean_calls=5)).calls == unseen.tried.sum(axis=1)).all()


def test_retrying_ends_with_the_first_usable_answer(fusion, unseen):
    fused = fusion.fuse(unseen, Budget(retry_unusable=True))
    usable = np.not_equal(unseen.answers, None)
    assert ((usable & fused.asked).sum(axis=1) <= 1).all()
    assert usable[np.arange(len(unseen)), fused.chosen][usable.any(axis=1)].all()
    assert earned(fusion, unseen, retry_unusable=True) > earned(fusion, unseen, max_calls=1)


def test_only_experts_that_were_tried_are_asked(fusion, unseen):
    tried = np.random.default_rng(0).random(unseen.tried.shape) < 0.6
    tried[:, 0] = True
    gaps = replace(
        unseen,
        tried=tried,
        answers=np.where(tried, unseen.answers, None),
        rewards=np.where(tried, unseen.rewards, np.nan).astype(np.float32),
    )
    fused = fusion.fuse(gaps)
    assert (fused.asked == tried).all()
    assert tried[np.arange(len(gaps)), fused.chosen].all()


def test_some_of_its_experts_in_another_order_will_do(fusion, unseen):
    part = unseen.only(["poet", "good", "algebraist"])
    assert fusion.fuse(part).asked.all()
    assert earned(fusion, part) > part.rewards.mean(axis=0).max()


def test_groups_are_not_looked_at(fusion, unseen):
    blind = replace(unseen, groups=(None,) * len(unseen))
    assert (fusion.fuse(blind).chosen == fusion.fuse(unseen).chosen).all()


def test_rewards_are_not_looked_at(fusion, unseen):
    blind = replace(unseen, rewards=1 - unseen.rewards)
    assert (fusion.fuse(blind, Budget(mean_calls=2)).chosen == fusion.fuse(unseen, Budget(mean_calls=2)).chosen).all()


def test_an_expert_that_was_not_learned_of_is_refused(fusion):
    strange = recorded_answers({"good": 0.5, "stranger": 0.5}, n=3)
    with pytest.raises(ValueError, match="'stranger' is unknown here, expected some of good, algebraist"):
        fusion.fuse(strange)


def test_an_expert_that_was_never_tried_is_refused(learned_from):
    with pytest.raises(ValueError, match="'nobody' was never tried"):
        Fusion(encoder=HashedEncoder(64)).fit(learned_from.widened([*learned_from.experts, "nobody"]))


def test_it_knows_what_it_learned_from(fusion, learned_from, unseen):
    assert fusion.has_seen(learned_from.queries).all()
    assert not fusion.has_seen(unseen.queries).any()


def test_gaps_in_what_it_learns_from_do_no_harm(unseen):
    outcomes = [without(outcome, list(SKILLS)[i % 5]) for i, outcome in enumerate(recorded_outcomes(SKILLS, seed=3))]
    fusion = Fusion(encoder=HashedEncoder(64)).fit(AnswerTable.from_outcomes(outcomes))
    assert earned(fusion, unseen) > unseen.rewards.mean(axis=0).max()


def without(outcome, expert):
    return replace(
        outcome,
        rewards={name: reward for name, reward in outcome.rewards.items() if name != expert},
        answers={name: answer for name, answer in outcome.answers.items() if name != expert},
    )


def test_of_texts_that_all_differ_it_takes_one_that_resembles_the_others():
    fusion = Fusion(encoder=HashedEncoder(64)).fit(essays(400, seed=0))
    new = essays(200, seed=1)
    assert earned(fusion, new) > new.rewards.mean() + 0.15


def essays(n, seed):
    """Long texts: those that are right are made of the same words in another order."""
    dice = np.random.default_rng(seed)
    outcomes = []
    for i in range(n):
        words = dice.integers(10**6, size=14).astype(str)
        right = dice.random(4) < 0.6
        texts = [dice.permutation(words) if good else dice.integers(10**6, size=14).astype(str) for good in right]
        answers = {name: " ".join(text) for name, text in zip("abcd", texts, strict=True)}
        rewards = {name: 0.9 if good else 0.1 for name, good in zip("abcd", right, strict=True)}
        outcomes.append(Outcome(f"write about {dice.integers(10**9)} {i}", rewards, answers=answers))
    return AnswerTable.from_outcomes(outcomes)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"max_calls": 0}, "max_calls: expected 1 or more, got 0"),
        ({"mean_calls": 0.5}, "mean_calls: expected 1 or more, got 0.5"),
        ({"mean_calls": float("nan")}, "mean_calls: expected 1 or more, got nan"),
        ({"mean_calls": 2, "retry_unusable": True}, "it takes max_calls, and no mean"),
        ({"mean_cost": 2, "retry_unusable": True}, "it takes max_calls, and no mean"),
        ({"mean_cost": 2, "mean_calls": 2}, "mean_calls and mean_cost are two ways"),
        ({"mean_cost": 0.0}, "mean_cost: expected more than 0, got 0.0"),
    ],
)
def test_a_budget_that_means_nothing_is_refused(budget, said):
    with pytest.raises(ValueError, match=said):
        Budget(**budget)
