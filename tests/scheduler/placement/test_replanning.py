"""Experts move when traffic has shifted enough to pay for it, and not otherwise."""

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings

from orchestrator.scheduler.placement.base import Problem
from orchestrator.scheduler.placement.placing import place, replan
from tests.support.clusters import check, demand, nodes, problems


def placed_on(problem, placed):
    return {
        demand.expert: {node.name for node, here in zip(problem.nodes, row, strict=True) if here}
        for demand, row in zip(problem.experts, placed.placement.resident, strict=True)
    }


def shifted(load):
    """Two experts with work on one node, two without on the other."""
    experts = tuple(demand(f"e{i}", gb=2, load=amount) for i, amount in enumerate([load, load, 0.0, 0.0]))
    current = {"e0": {"n0"}, "e1": {"n0"}, "e2": {"n1"}, "e3": {"n1"}}
    return Problem(nodes(4, 4), experts, current=current)


def test_traffic_that_has_shifted_is_followed():
    planned = replan(shifted(0.4))
    assert planned.staying.busiest == pytest.approx(0.8)
    assert planned.placed.cost.busiest == pytest.approx(0.4)
    assert [(move.node, move.memory_bytes) for move in planned.moves] == [("n1", 2_000_000_000)]
    assert planned.moves[0].seconds == pytest.approx(2.0)


def test_a_gain_too_small_moves_nothing():
    planned = replan(shifted(0.4), min_gain=0.6)
    assert planned.moves == ()
    assert planned.placed.cost == planned.staying
    assert planned.placed.placement.resident.tolist() == shifted(0.4).is_current.tolist()


def test_a_move_must_pay_within_the_horizon():
    problem = shifted(0.02)
    assert replan(replace(problem, horizon_s=3600.0)).moves
    assert not replan(replace(problem, horizon_s=20.0)).moves


def test_who_is_where_he_should_be_stays_there():
    experts = tuple(demand(f"e{i}", gb=i + 1, load=0.1 * (i + 1)) for i in range(4))
    problem = Problem(nodes(6, 6), experts)
    settled = replace(problem, current=placed_on(problem, place(problem)))
    planned = replan(settled, min_gain=0.0)
    assert planned.moves == ()
    assert planned.placed.cost.moving == 0.0


def test_an_expert_that_is_new_is_placed_without_moving_the_others_much():
    experts = (demand("old", gb=2, load=0.2), demand("new", gb=2, load=0.2))
    planned = replan(Problem(nodes(2, 2), experts, current={"old": {"n1"}}))
    assert [(move.expert, move.node) for move in planned.moves] == [("new", "n0")]


def test_a_node_that_has_gone_is_left():
    problem = shifted(0.4)
    planned = replan(replace(problem, nodes=problem.nodes[:1]))
    assert not planned.placed.placement.resident[2:].any()


def test_a_node_that_has_shrunk_leaves_no_choice_but_to_move():
    problem = shifted(0.4)
    planned = replan(replace(problem, nodes=nodes(2, 4)))
    assert planned.staying is None
    check(replace(problem, nodes=nodes(2, 4)), planned.placed.placement)


def test_the_time_to_plan_is_for_all_of_it():
    """Staying, placing and copying had that time each, and copying any number of times."""
    experts = tuple(demand(f"e{i}", gb=4, load=3.0 / (i + 1)) for i in range(1000))
    current = {f"e{i}": {f"n{i % 8}"} for i in range(300)}
    problem = Problem(nodes(*[2000] * 8), experts, current=current)
    began = time.process_time()
    planned = replan(problem, time_limit_s=0.5)
    assert time.process_time() - began < 1.2
    check(problem, planned.placed.placement)


@settings(max_examples=15, deadline=None)
@given(problems())
def test_a_plan_never_costs_more_than_staying(problem):
    planned = replan(problem, time_limit_s=5.0)
    check(problem, planned.placed.placement)
    if planned.staying is not None:
        assert planned.placed.cost.total <= planned.staying.total + 1e-6
