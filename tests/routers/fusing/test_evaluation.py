"""What fusion earns, beside what it must beat."""

import math
from dataclasses import replace

import numpy as np
import pytest

from routers.encoders import HashedEncoder
from routers.fusing.evaluation import Reference, as_json, budgets, cross_validate, evaluate
from routers.fusing.fusion import Fusion
from routers.fusing.table import Fused
from tests.support.recorded import recorded_answers


def alone(table, column):
    asked = np.zeros(table.tried.shape, dtype=bool)
    asked[:, column] = True
    return Fused(np.full(len(table), column), asked)


def test_the_best_single_expert_gains_nothing_over_itself(learned_from, unseen):
    best = int(learned_from.rewards.mean(axis=0).argmax())
    judged = evaluate(alone(unseen, best), unseen, Reference.of(learned_from))
    assert (judged.gain.mean, judged.gain.low, judged.gain.high) == (0.0, 0.0, 0.0)
    assert judged.accuracy.mean == pytest.approx(judged.baselines["best_single"])
    assert (judged.calls_mean, judged.calls_max) == (1.0, 1)


def test_baselines_are_in_their_order(fusion, learned_from, unseen):
    judged = evaluate(fusion.fuse(unseen), unseen, Reference.of(learned_from))
    baselines = judged.baselines
    assert baselines["best_single"] < baselines["group_best"] < judged.accuracy.mean < baselines["oracle"]
    assert baselines["majority"] < baselines["weighted_vote"]
    assert judged.gain.low > 0.0


def test_what_was_spent_is_told_where_it_is_known(fusion, learned_from, unseen):
    judged = evaluate(fusion.fuse(unseen), unseen, Reference.of(learned_from))
    assert judged.cost_mean == pytest.approx(7.5, rel=0.1)
    assert as_json(judged)["cost_unit"] == "usd"
    free = replace(unseen, costs=np.full_like(unseen.costs, np.nan))
    assert as_json(evaluate(fusion.fuse(free), free, Reference.of(learned_from)))["cost_mean"] is None


def test_votes_weigh_what_their_experts_were_worth_in_training(learned_from):
    votes = Reference.of(learned_from).votes
    assert votes["good"] > votes["poor"] > 0.0


def test_a_single_expert_that_was_not_tried_here_has_no_gain(learned_from, unseen):
    best = int(learned_from.rewards.mean(axis=0).argmax())
    others = unseen.only([name for i, name in enumerate(unseen.experts) if i != best])
    absent = replace(others.widened(unseen.experts))
    judged = evaluate(alone(absent, (best + 1) % 5), absent, Reference.of(learned_from))
    assert judged.gain is None
    assert judged.baselines["best_single"] is None


def test_experts_that_it_never_learned_of_are_refused(learned_from):
    strange = recorded_answers({"x": 0.5}, n=5)
    with pytest.raises(ValueError, match="no expert of these outcomes was learned of"):
        evaluate(alone(strange, 0), strange, Reference.of(learned_from))


def test_budgets_are_those_that_there_are_experts_for():
    assert list(budgets(4)) == ["all calls", "3 calls on average", "one call, retried"]


def test_cross_validation_judges_every_query_unseen():
    table = recorded_answers({"a": [0.9, 0.3], "b": [0.3, 0.9], "c": 0.5, "d": 0.5}, n=200)
    encoder = HashedEncoder(64)
    vectors = Fusion(encoder=encoder).encode(table.queries)
    judged = cross_validate(table, vectors, encoder)
    assert {each.n for each in judged.values()} == {200}
    assert judged["all calls"].accuracy.mean > judged["all calls"].baselines["best_single"] + 0.1
    assert judged["3 calls on average"].calls_mean < 3.0
    body = as_json(judged["all calls"])
    assert body["accuracy"]["ci95"][0] < body["accuracy"]["mean"] < body["accuracy"]["ci95"][1]
    assert not any(math.isnan(value) for value in body["baselines"].values())


def test_an_expert_that_was_hardly_tried_is_named():
    table = recorded_answers({"a": 0.5, "b": 0.5}, n=60)
    rare = np.ones(table.tried.shape, dtype=bool)
    rare[1:, 1] = False
    rewards = np.where(rare, table.rewards, np.nan).astype(np.float32)
    gaps = replace(table, tried=rare, rewards=rewards, answers=np.where(rare, table.answers, None))
    with pytest.raises(ValueError, match="'b' was tried on too few queries to be judged"):
        cross_validate(gaps, np.zeros((60, 1), dtype=np.float32), HashedEncoder(64))
