"""The proved lower bound: equal to an exhaustive search on tiny instances, and below every policy's cost."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.simulation.base import Setting, Trace
from evals.simulation.bound import cost_s, lower_bound
from evals.simulation.registry import POLICIES, make_rules
from evals.simulation.running import simulate


def trace_of(*requests):
    return Trace(np.array([float(at) for at, _ in requests]), np.array([expert for _, expert in requests]))


@st.composite
def settings_of(draw, experts, whole):
    """Experts of which one or two fit into memory; durations of whole seconds, or not."""
    seconds = st.integers(1, 3).map(float) if whole else st.floats(0.3, 4.0)
    return Setting(
        experts=tuple(f"expert-{number}" for number in range(experts)),
        size_bytes=np.array(draw(st.lists(st.integers(1, 2), min_size=experts, max_size=experts))),
        budget_bytes=draw(st.integers(2, 3)),
        load_s=np.array(draw(st.lists(seconds, min_size=experts, max_size=experts))),
        batch=np.array(draw(st.lists(st.integers(1, 3), min_size=experts, max_size=experts))),
        service_s=np.array(draw(st.lists(seconds, min_size=experts, max_size=experts))),
        stop_s=draw(st.sampled_from([0.0, 1.0])),
    )


@st.composite
def traces_of(draw, experts, most, whole):
    at = st.integers(0, 8) if whole else st.floats(0.0, 20.0)
    requests = draw(st.lists(st.tuples(at, st.integers(0, experts - 1)), min_size=1, max_size=most))
    return trace_of(*sorted(requests))


def cheapest_by_search(trace, setting):
    """The least cost over everything that could be done at every whole second, with no insight into what is useful."""
    load, service = setting.load_s.astype(int), setting.service_s.astype(int)
    arrivals = [trace.at_s[trace.expert == expert] for expert in range(len(setting.experts))]
    last = int(trace.at_s[-1]) + sum(len(own) * (load[i] + service[i] + 1) for i, own in enumerate(arrivals))

    def options(expert, state, served, now):
        """(cost, what it does then, for how long, how many of its requests have been served)."""
        doing, left = state
        own = arrivals[expert]
        if left > 0:
            yield 0.0, doing, left, served
        elif doing == "away":
            yield 0.0, "away", 0, served
            yield float(load[expert]), "here", load[expert], served
        else:
            yield 0.0, "here", 0, served
            yield 0.0, "away", int(setting.stop_s), served
            waiting = int((own <= now).sum()) - served
            for taken in range(1, min(waiting, setting.batch[expert]) + 1):
                waited = (now - own[served : served + taken]).sum()
                yield float(waited), "here", service[expert], served + taken

    @cache
    def cheapest(now, states, served):
        if all(count == len(own) for count, own in zip(served, arrivals, strict=True)):
            return 0.0
        if now > last:
            return math.inf
        best = math.inf
        for chosen in product(*(options(i, states[i], served[i], now) for i in range(len(states)))):
            occupied = sum(
                size
                for (_, doing, left, _), size in zip(chosen, setting.size_bytes, strict=True)
                if doing == "here" or left > 0
            )
            if occupied <= setting.budget_bytes:
                after = tuple((doing, max(int(left) - 1, 0)) for _, doing, left, _ in chosen)
                later = cheapest(now + 1, after, tuple(count for *_, count in chosen))
                best = min(best, sum(cost for cost, *_ in chosen) + later)
        return best

    nobody = len(setting.experts)
    return cheapest(0, (("away", 0),) * nobody, (0,) * nobody)


@settings(max_examples=20)
@given(traces_of(2, 4, whole=True), settings_of(2, whole=True))
def test_it_is_what_an_exhaustive_search_finds(trace, setting):
    bound = lower_bound(trace, setting, horizon_s=40.0)
    assert bound.exact
    assert bound.cost_s == pytest.approx(cheapest_by_search(trace, setting), rel=1e-3)


@settings(max_examples=25)
@given(traces_of(3, 20, whole=False), settings_of(3, whole=False), st.sampled_from([0.5, 1.0, 2.0]))
def test_no_policy_costs_less(trace, setting, grid_s):
    bound = lower_bound(trace, setting, grid_s=grid_s)
    for policy in POLICIES:
        run = simulate(trace, setting, make_rules(policy, setting, trace))
        assert cost_s(run, setting) >= bound.cost_s * (1 - 1e-6), policy


@settings(max_examples=10)
@given(traces_of(2, 6, whole=True), settings_of(2, whole=True))
def test_rounding_arrivals_down_costs_at_most_a_period_for_each(trace, setting):
    late = replace(trace, at_s=trace.at_s + 0.5)
    exact = lower_bound(late, setting, grid_s=0.5, horizon_s=30.0)
    rounded = lower_bound(late, setting, grid_s=1.0, horizon_s=30.0)
    assert exact.exact
    assert not rounded.exact
    assert rounded.cost_s <= exact.cost_s + 1e-3 * exact.cost_s
    assert exact.cost_s <= rounded.cost_s + len(trace) * 1.0 + 1e-3 * exact.cost_s


def test_two_experts_in_turn_in_one_slot():
    trace = trace_of((0, 0), (0, 0), (0, 1))
    bound = lower_bound(trace, Setting.even(experts=2, slots=1, swap_s=3.0, batch=2, batch_s=2.0))
    assert bound.cost_s == pytest.approx(3 + 3 + 8 + 2 * 3)  # the pair starts at 3, the other at 3 + 2 + 3
    assert bound.exact


def test_swap_seconds_weigh_what_they_are_said_to():
    trace = trace_of((0, 0))
    setting = Setting.even(experts=1, slots=1, swap_s=3.0)
    assert lower_bound(trace, setting, swap_weight=0.0).cost_s == pytest.approx(3.0)
    assert lower_bound(trace, setting, swap_weight=10.0).cost_s == pytest.approx(33.0)
    assert cost_s(simulate(trace, setting, make_rules("switchyard", setting, trace)), setting, 10.0) == 33.0


def test_beyond_the_horizon_it_is_a_bound_but_not_exact():
    trace = trace_of((0, 0), (0, 1), (0, 2))
    setting = Setting.even(experts=3, slots=1)
    short, long = (lower_bound(trace, setting, horizon_s=horizon_s) for horizon_s in (7.0, 60.0))
    assert long.exact
    assert not short.exact
    assert 0 < short.cost_s < long.cost_s


def test_a_horizon_before_the_last_arrival_is_safe():
    trace = trace_of((0, 0), (0, 0), (20, 0))
    setting = Setting.even(experts=1, slots=1, swap_s=5.0, batch=4, batch_s=1.0)
    for horizon_s in (0.0, 5.0, 6.0, 7.0, 19.0, 21.0):
        assert lower_bound(trace, setting, horizon_s=horizon_s).cost_s <= 5 + 5 + 5 + 1e-6


def test_without_time_to_prove_anything_everybody_is_loaded_once():
    trace = trace_of((0, 0), (1, 1), (2, 0), (2, 1))
    bound = lower_bound(trace, Setting.even(experts=2, slots=1), time_limit_s=0.0)
    assert bound.cost_s == pytest.approx(12.0)
    assert not bound.exact


def test_nobody_asks():
    assert lower_bound(Trace(np.zeros(0), np.zeros(0, dtype=np.int64)), Setting.even()).cost_s == 0.0


def test_what_it_is_not_about_is_refused():
    trace = trace_of((0, 0), (1, 0))
    setting = Setting.even(experts=1, slots=1)
    for other, machine in [
        (replace(trace, after=np.array([-1, 0])), setting),
        (replace(trace, utilities=np.ones((2, 1))), setting),
        (trace, replace(setting, batching="continuous")),
    ]:
        with pytest.raises(ValueError, match="batches that start together"):
            lower_bound(other, machine)
