"""Every sampler: what it asks for, when it ends, and that what it says is rarely wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.active.base import Problem
from evals.active.benchmark import is_right
from evals.active.registry import SAMPLERS, make_sampler
from evals.active.replaying import replay

RUNS = 200
MEMBERS = [(name, goal) for name, (goals, _) in SAMPLERS.items() for goal in goals]
ADAPTIVE = [(name, goal) for name, goal in MEMBERS if name != "uniform"]
FINITE = [(name, goal) for name, goal in ADAPTIVE if name != "active_ranking"]
"""What can be about the queries at hand alone."""
ORDERED = np.array([[0.8, 0.5, 0.2], [0.7, 0.5, 0.3]])
"""Mean rewards `(n_groups, n_experts)` of a fleet with one order everywhere."""
CROSSED = np.array([[0.9, 0.4, 0.1], [0.2, 0.4, 0.8]])


def fleet(means, seed, num_queries=600, **problem):
    """A problem and rewards 0 or 1, `(n_queries, n_experts)`, with these mean rewards `(n_groups, n_experts)`."""
    dice = np.random.default_rng(seed)
    groups = dice.integers(0, len(means), num_queries)
    rewards = (dice.random((num_queries, means.shape[1])) < means[groups]).astype(np.float32)
    return Problem(means.shape[1], groups, **problem), rewards


def is_wrong(name, goal, means, seed, **problem):
    setting, rewards = fleet(means, seed, **problem)
    overall = means.mean(axis=0)
    if setting.finite:
        means = np.stack([rewards[setting.members(group)].mean(axis=0) for group in range(len(means))])
        overall = rewards.mean(axis=0)
    return not is_right(replay(make_sampler(name, setting, goal), rewards).verdict, means, overall)


@pytest.mark.parametrize(("name", "goal"), MEMBERS)
def test_clear_differences_are_found(name, goal):
    problem, rewards = fleet(ORDERED, seed=0)
    verdict = replay(make_sampler(name, problem, goal), rewards).verdict
    assert verdict.decided
    assert verdict.goal == goal
    if goal == "ranking":
        assert verdict.ranking == (0, 1, 2)
    else:
        assert verdict.standing == ((0,),) * (2 if goal == "best-by-group" else 1)


@pytest.mark.parametrize(("name", "goal"), MEMBERS)
def test_nothing_is_asked_twice_and_each_expert_s_queries_follow_one_another(name, goal):
    problem, rewards = fleet(ORDERED, seed=1)
    sampler, seen = make_sampler(name, problem, goal), np.full_like(rewards, np.nan)
    while len(pairs := sampler.advance(seen).pairs):
        experts, queries = pairs.T
        assert np.isnan(seen[queries, experts]).all()
        assert len(np.unique(pairs, axis=0)) == len(pairs)
        assert (np.diff(experts) >= 0).all()
        seen[queries, experts] = rewards[queries, experts]


@pytest.mark.parametrize(
    ("name", "goal", "finite"), [(*each, False) for each in ADAPTIVE] + [(*each, True) for each in FINITE]
)
def test_a_wrong_answer_is_given_at_most_delta_of_the_time(name, goal, finite):
    close = np.array([[0.55, 0.5, 0.45], [0.6, 0.5, 0.4]])
    wrong = sum(is_wrong(name, goal, close, seed, num_queries=100, delta=0.1, finite=finite) for seed in range(RUNS))
    assert wrong / RUNS <= 0.1


@pytest.mark.parametrize("name", ["best_arm_by_group", "active_ranking"])
def test_a_wrong_answer_is_rare_in_a_fleet_without_an_order(name):
    opposed = np.array([[0.65, 0.5, 0.35], [0.35, 0.5, 0.7]])
    wrong = told = 0
    for seed in range(60):
        problem, rewards = fleet(opposed, seed, 300, delta=0.1)
        verdict = replay(make_sampler(name, problem), rewards).verdict
        if verdict.goal == "best-by-group":
            told += 1
            wrong += not is_right(verdict, opposed, opposed.mean(axis=0))
    assert told > 10
    assert wrong <= 0.1 * told


@pytest.mark.parametrize(("name", "goal"), MEMBERS)
def test_a_budget_is_kept_and_leaves_the_question_open(name, goal):
    problem, rewards = fleet(np.full((2, 3), 0.5), seed=2)
    replayed = replay(make_sampler(name, problem, goal), rewards, budget=50)
    assert replayed.num_calls <= 50
    assert not replayed.verdict.decided
    assert replayed.verdict.unsettled if goal == "ranking" else set(replayed.verdict.standing[0]) == {0, 1, 2}


@pytest.mark.parametrize(("name", "goal"), FINITE)
@settings(max_examples=20, deadline=None)
@given(
    table=st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=4, max_size=25), seed=st.integers(0, 5)
)
def test_all_queries_there_are_decide_about_themselves(name, goal, table, seed):
    rewards = np.array(table, dtype=np.float32)
    groups = np.random.default_rng(seed).permutation(np.arange(len(rewards)) % 2)
    problem = Problem(3, groups, delta=1e-12, finite=True)
    verdict = replay(make_sampler(name, problem, goal), rewards).verdict
    truth = np.stack([rewards[groups == group].mean(axis=0) for group in range(2)])
    assert is_right(verdict, truth, rewards.mean(axis=0))
    if goal == "best":
        distinct = len(np.unique(np.round(rewards.mean(axis=0), 5))) == 3
        assert verdict.decided or not distinct


@pytest.mark.parametrize(("name", "goal"), ADAPTIVE)
def test_an_expert_that_always_fails_stays_unknown(name, goal):
    problem, rewards = fleet(ORDERED, seed=3, num_queries=60)
    rewards[:, 1] = np.nan
    verdict = replay(make_sampler(name, problem, goal), rewards).verdict
    assert not verdict.decided
    assert all(1 in standing for standing in verdict.standing)
    assert goal != "ranking" or any(1 in pair for pair in verdict.unsettled)


@pytest.mark.parametrize(("name", "goal"), [("best_arm", "best"), ("best_arm_by_group", "best-by-group")])
def test_races_need_fewer_calls_than_asking_everybody_everything(name, goal):
    steps = np.array([[0.8, 0.7, 0.3, 0.2, 0.1]] * 2)
    calls = {name: 0, "uniform": 0}
    for seed in range(5):
        problem, rewards = fleet(steps, seed, 1_000)
        for each in calls:
            calls[each] += replay(make_sampler(each, problem, goal), rewards).num_calls
    assert calls[name] < 0.8 * calls["uniform"]


def test_one_expert_alone_is_the_best_without_a_call():
    problem = Problem(1, np.zeros(5, dtype=np.intp))
    replayed = replay(make_sampler("best_arm", problem), np.ones((5, 1), dtype=np.float32))
    assert (replayed.num_calls, replayed.verdict.decided) == (0, True)


def test_active_ranking_is_not_about_a_few_queries_alone():
    with pytest.raises(ValueError, match="expected mean_ranking"):
        make_sampler("active_ranking", Problem(2, np.zeros(1, dtype=np.intp), finite=True))


def test_unknown_samplers_and_goals_are_told_with_those_there_are():
    problem = Problem(2, np.zeros(1, dtype=np.intp))
    with pytest.raises(ValueError, match="expected one of uniform, best_arm"):
        make_sampler("guess", problem)
    with pytest.raises(ValueError, match="'best_arm' has no goal 'ranking', expected one of best"):
        make_sampler("best_arm", problem, "ranking")
