"""Fleets of which no expert is better everywhere: seen, said, and the question changed; and orders left in peace."""

import numpy as np

from evals.active.base import Crossing
from evals.active.crossings import find_crossings
from evals.active.registry import make_sampler
from evals.active.replaying import replay
from tests.evals.active.test_samplers import CROSSED, ORDERED, fleet


def test_a_crossing_names_both_experts_and_both_groups():
    problem, rewards = fleet(CROSSED[:, [0, 2]], seed=0)
    assert find_crossings(rewards, problem, 0.05) == (Crossing(0, 1, better_in=0, worse_in=1),)


def test_one_order_is_rarely_taken_for_a_crossing():
    equal = np.full((4, 3), 0.5)
    false = 0
    for seed in range(100):
        problem, rewards = fleet(equal, seed, num_queries=200)
        false += any(find_crossings(rewards[:asked], problem_of(problem, asked), 0.1) for asked in (50, 100, 200))
    assert false / 100 <= 0.1


def problem_of(problem, num_queries):
    return type(problem)(problem.num_experts, problem.groups[:num_queries])


def test_without_groups_nothing_crosses():
    problem, rewards = fleet(CROSSED[:1], seed=1)
    assert find_crossings(rewards, problem, 0.05) == ()


def test_a_ranking_of_experts_that_cross_becomes_the_best_of_each_group():
    problem, rewards = fleet(CROSSED, seed=2, num_queries=2_000)
    verdict = replay(make_sampler("active_ranking", problem), rewards).verdict
    assert verdict.goal == "best-by-group"
    assert verdict.standing == ((0,), (2,))
    assert Crossing(0, 2, better_in=0, worse_in=1) in verdict.crossings


def test_a_ranking_spends_its_calls_where_experts_differ():
    means = np.full((8, 3), 0.5)
    means[5] = [0.9, 0.5, 0.1]
    problem, rewards = fleet(means, seed=3, num_queries=4_000)
    replayed = replay(make_sampler("active_ranking", problem), rewards)
    assert (replayed.verdict.decided, replayed.verdict.ranking) == (True, (0, 1, 2))
    asked = np.bincount(problem.groups, (~np.isnan(replayed.seen)).sum(axis=1))
    assert asked.argmax() == 5
    by_mean = replay(make_sampler("mean_ranking", problem), rewards)
    assert replayed.num_calls < 0.5 * by_mean.num_calls


def test_an_order_that_holds_everywhere_is_ranked():
    problem, rewards = fleet(ORDERED, seed=4)
    verdict = replay(make_sampler("active_ranking", problem), rewards).verdict
    assert (verdict.goal, verdict.crossings, verdict.ranking) == ("ranking", (), (0, 1, 2))
