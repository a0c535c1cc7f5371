"""Experts on nodes: never more than fits, never dearer than without a solver, and as cheap as trying everything."""

import time
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.scheduler.placement.base import Links, Placement, Problem, Together
from orchestrator.scheduler.placement.greedy import greedy
from orchestrator.scheduler.placement.improving import with_copies
from orchestrator.scheduler.placement.placing import place
from orchestrator.scheduler.placement.program import Copies, relaxed_bound, solve
from tests.support.clusters import check, demand, nodes, problems


def every_placement(problem):
    """All that have one copy of each expert, resident or visiting, and fit."""
    cells = [(node, visits) for node in range(problem.shape[1]) for visits in (False, True)]
    for choice in product(cells, repeat=problem.shape[0]):
        shares, visiting = np.zeros(problem.shape), np.zeros(problem.shape, dtype=bool)
        for expert, (node, visits) in enumerate(choice):
            shares[expert, node], visiting[expert, node] = 1.0, visits
        placement = Placement((shares > 0) & ~visiting, visiting, shares)
        if (problem.used_gb(placement) <= problem.room_gb).all():
            yield placement


@settings(max_examples=25, deadline=None)
@given(problems())
def test_a_placement_fits_and_costs_no_more_than_a_greedy_one_and_no_less_than_its_bound(problem):
    placed, quick = place(problem, time_limit_s=5.0), greedy(problem)
    check(problem, placed.placement)
    check(problem, quick)
    assert placed.cost.total <= problem.cost(quick).total + 1e-6
    assert relaxed_bound(problem) <= placed.cost.total + 1e-6
    assert placed.bound <= placed.cost.total + 1e-6
    assert placed.gap == pytest.approx(0.0, abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(problems(max_nodes=2, max_experts=4))
def test_no_placement_with_one_copy_each_is_cheaper(problem):
    best = min(problem.cost(placement).total for placement in every_placement(problem))
    found = solve(problem)
    assert problem.cost(found.placement).total <= best + 1e-6
    one_copy = (found.placement.resident | found.placement.visiting).sum(axis=1).max() == 1
    if one_copy:
        assert problem.cost(found.placement).total == pytest.approx(best, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_experts_and_nodes_does_not_matter(problem, random):
    experts, order = list(problem.experts), list(problem.nodes)
    random.shuffle(experts)
    random.shuffle(order)
    shuffled = replace(problem, experts=tuple(experts), nodes=tuple(order))
    expected = place(problem, time_limit_s=5.0).cost.total
    assert place(shuffled, time_limit_s=5.0).cost.total == pytest.approx(expected, abs=1e-4)


def test_work_is_spread_by_the_speed_of_nodes():
    fast = replace(nodes(8)[0], name="fast", speed=3.0)
    experts = tuple(demand(f"e{i}", load=0.2) for i in range(4))
    problem = Problem((fast, *nodes(8)), experts)
    placed = place(problem)
    assert placed.placement.shares.sum(axis=0) == pytest.approx([3.0, 1.0])
    assert placed.cost.busiest == pytest.approx(0.2)


def test_an_expert_with_more_work_than_one_node_can_do_gets_two_copies():
    problem = Problem(nodes(4, 4), (demand("popular", load=1.6),))
    placed = place(problem)
    assert placed.placement.resident.all()
    assert placed.cost.busiest == pytest.approx(0.8)


def test_a_second_copy_that_spares_less_than_its_loading_takes_is_not_made():
    problem = Problem(nodes(4, 4, load_bytes_per_s=1e7), (demand("rare", load=0.001),), horizon_s=60.0)
    assert (place(problem).placement.resident | place(problem).placement.visiting).sum() == 1


def test_experts_that_are_asked_together_share_a_node_or_else_a_site():
    experts = tuple(demand(f"e{i}", gb=2, load=0.01) for i in range(4))
    pairs = (Together(("e0", "e1"), 5.0), Together(("e2", "e3"), 5.0), Together(("e1", "e2"), 1.0))
    problem = Problem(nodes(4, 4, 4, 4, sites="abab"), experts, pairs, Links(near_s=0.01, far_s=0.1))
    shares = place(problem).placement.shares
    assert (shares[0] == shares[1]).all()
    assert (shares[2] == shares[3]).all()
    on = [int(shares[i].argmax()) for i in (0, 2)]
    assert sorted(on) in ([0, 2], [1, 3])


def test_the_network_costs_what_its_links_do():
    experts = (demand("a"), demand("b"))
    problem = Problem(nodes(4, 4, 4, sites="aab"), experts, (Together(("a", "b"), 2.0),), Links(near_s=0.1, far_s=0.7))
    none = np.zeros(problem.shape, dtype=bool)

    def network(other):
        return problem.cost(Placement(none, none, np.eye(3)[[0, other]])).network

    assert [network(other) for other in range(3)] == pytest.approx([0.0, 0.2, 1.4])


def test_what_does_not_fit_takes_turns_and_is_what_is_needed_least():
    experts = tuple(demand(f"e{i}", gb=4, load=load) for i, load in enumerate([0.3, 0.3, 0.001, 0.001]))
    problem = Problem(nodes(4, 4, 4), experts)
    placed = place(problem)
    assert placed.placement.visiting.any(axis=1).tolist() == [False, False, True, True]
    assert placed.cost.swapping > 0


def test_a_node_too_small_for_any_expert_is_left_empty():
    problem = Problem(nodes(4, 0.5), (demand("a"), demand("b")))
    assert not place(problem).placement.shares[:, 1].any()


def a_thousand_experts(memory):
    """On eight nodes, which have so much memory as a multiple of theirs."""
    sizes = np.random.default_rng(0).uniform(1, 8, 1000)
    experts = tuple(demand(f"e{i}", gb, 4.0 / (i + 1) / 7.5) for i, gb in enumerate(sizes))
    return Problem(nodes(*[sizes.sum() / 8 * memory] * 8), experts)


def test_a_thousand_experts_have_a_placement_and_a_bound_within_seconds():
    problem = a_thousand_experts(memory=1.2)
    placed = place(problem, time_limit_s=2.0)
    check(problem, placed.placement)
    assert placed.gap < 0.05


def test_a_greedy_placement_is_all_that_there_is_time_for():
    problem = a_thousand_experts(memory=1.2)
    quick, began = greedy(problem), time.process_time()
    assert with_copies(problem, quick, until=time.monotonic()) is quick
    assert solve(problem, time_limit_s=0.0).placement is None
    assert time.process_time() - began < 0.1
    check(problem, place(problem, time_limit_s=0.0).placement)


def test_copies_that_fit_nowhere_have_no_solution():
    problem = Problem(nodes(4), (demand("a", 3), demand("b", 3)))
    both = np.ones(problem.shape, dtype=bool)
    found = solve(problem, Copies(both, both, ~both, ~both))
    assert found.placement is None
    assert found.bound == np.inf


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes": ()}, "expected at least one node"),
        ({"nodes": nodes(4) * 2}, "the node 'n0' stands twice"),
        ({"experts": (demand("a"), demand("a"))}, "the expert 'a' stands twice"),
        ({"experts": (demand("a", 9),)}, "'a' needs 9.000 GB, and the largest node has 4.000 GB"),
        ({"together": (Together(("a", "z"), 1.0),)}, "'z' is asked together with another"),
        ({"horizon_s": 0.0}, "a horizon above 0"),
        ({"nodes": nodes(4, speed=float("nan"))}, "expected speeds"),
        ({"links": Links(near_s=0.2, far_s=0.1)}, "far_s is near_s or more"),
        ({"experts": (replace(demand("a"), rate_per_s=-1.0),)}, "nothing below 0"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, message):
    fields = {"nodes": nodes(4), "experts": (demand("a"),)} | changes
    with pytest.raises(ConfigError, match=message):
        Problem(**fields)
