"""A trace under a policy: what is noted of each request, and what ends a run early."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.simulation.base import NOBODY, Setting, Trace
from evals.simulation.registry import OURS, make_rules
from evals.simulation.running import Patience, TooSlow, simulate
from evals.simulation.workloads import Workload
from orchestrator.scheduler.rules import SwitchyardRules

TWO = Setting.even(experts=3, slots=2)


def run(trace, setting=TWO, patience=None, policy=OURS, seed=0):
    return simulate(trace, setting, make_rules(policy, setting, trace), patience, seed)


def asking(*wishes, **more):
    """Requests as pairs of time and expert."""
    return Trace(np.array([at for at, _ in wishes]), np.array([expert for _, expert in wishes]), **more)


workloads = st.builds(
    Workload,
    requests=st.integers(1, 80),
    rate=st.floats(0.1, 20.0),
    zipf=st.floats(0.0, 2.0),
    arrivals=st.sampled_from(["poisson", "bursty", "diurnal"]),
    drift_s=st.none() | st.floats(1.0, 100.0),
    session_calls=st.floats(1.0, 5.0),
)


@settings(max_examples=40, deadline=None)
@given(workload=workloads, experts=st.integers(1, 6), slots=st.integers(1, 3), seed=st.integers(0, 9))
def test_every_request_is_answered_once_by_whom_it_asked_after_it_came(workload, experts, slots, seed):
    setting = Setting.even(experts, slots)
    trace = workload.trace(experts, seed)
    result = run(trace, setting)
    assert (result.expert == trace.expert).all()
    assert (result.started_s >= result.arrived_s).all()
    assert result.done_s == pytest.approx(result.started_s + 2.0)
    assert (result.arrived_s >= trace.at_s - 1e-9).all()
    if trace.after is None:
        assert (result.arrived_s == trace.at_s).all()
    assert (np.diff(result.load_s) >= 0).all()


@given(seed=st.integers(0, 9))
def test_the_same_trace_runs_the_same_way(seed):
    trace = Workload(requests=50, rate=2.0).trace(3, seed)
    first, second = run(trace), run(trace)
    assert (first.done_s == second.done_s).all()
    assert (first.load_expert == second.load_expert).all()


def test_the_first_request_waits_for_its_expert_and_the_next_does_not():
    result = run(asking((1.0, 0), (10.0, 0)))
    assert result.latency_s.tolist() == [8.0, 2.0]
    assert result.cold.tolist() == [True, False]
    assert (result.load_expert.tolist(), result.load_s.tolist()) == ([0], [1.0])


def test_an_expert_that_was_evicted_is_cold_again():
    setting = Setting.even(experts=2, slots=1)
    result = run(asking((0.0, 0), (20.0, 1), (40.0, 0), (60.0, 0)), setting)
    assert result.cold.tolist() == [True, True, True, False]
    assert result.load_expert.tolist() == [0, 1, 0]


def test_batches_start_together():
    result = run(asking((0.0, 0), (6.5, 0), (7.0, 0)))
    assert result.started_s.tolist() == [6.0, 8.0, 8.0]


def test_continuous_batching_lets_requests_join_and_slows_them():
    setting = Setting.even(experts=1, slots=1, batching="continuous", slowing=0.5)
    result = run(asking((0.0, 0), (6.5, 0)), setting)
    assert result.started_s.tolist() == [6.0, 6.5]
    assert result.done_s.tolist() == [8.0, 9.5]


def test_costs_may_differ_between_experts():
    setting = Setting(
        ("small", "large"),
        size_bytes=np.array([1, 2]),
        budget_bytes=3,
        load_s=np.array([1.0, 10.0]),
        batch=np.array([1, 1]),
        service_s=np.array([0.5, 4.0]),
    )
    assert run(asking((0.0, 0), (0.0, 1)), setting).latency_s.tolist() == [1.5, 14.0]


def test_a_request_that_waits_for_an_answer_comes_as_long_after_it_as_the_trace_says():
    trace = asking((0.0, 0), (3.0, 1), after=np.array([NOBODY, 0]), session=np.array([5, 5]))
    result = run(trace)
    assert result.arrived_s.tolist() == [0.0, 8.0 + 3.0]
    assert result.latency_s.tolist() == [8.0, 8.0]


def test_with_utilities_the_policy_chooses_the_expert():
    utilities = np.array([[0.9, 0.8, np.nan], [0.9, 0.8, np.nan], [0.1, np.nan, 0.9]])
    result = run(asking((0.0, 0), (6.5, 0), (20.0, 2), utilities=utilities, mu=0.001))
    assert result.expert.tolist() == [0, 0, 2]
    hurried = run(asking((0.0, 0), (20.0, 1), utilities=np.array([[0.9, np.nan, np.nan], [0.8, 0.9, 0.9]]), mu=1.0))
    assert hurried.expert.tolist() == [0, 0]  # a load of 6 s costs more than 0.1


def test_requests_whose_expert_fails_to_load_are_refused():
    setting = Setting.even(experts=1, slots=1, load_failures=0.999999)
    result = run(asking((0.0, 0), (1.0, 0)), setting)
    assert np.isnan(result.done_s).all()
    assert result.expert.tolist() == [NOBODY, NOBODY]


def test_seeds_differ_in_the_loads_that_fail():
    setting = Setting.even(experts=3, slots=3, load_failures=0.5)
    trace = asking(*((float(i), i % 3) for i in range(30)))
    refused = [np.isnan(run(trace, setting, seed=seed).done_s).tolist() for seed in range(6)]
    assert refused[0] == np.isnan(run(trace, setting, seed=0).done_s).tolist()
    assert any(others != refused[0] for others in refused[1:])


@pytest.mark.parametrize("seed", range(4))
def test_an_experts_loads_fail_alike_whoever_else_loads_and_under_every_policy(seed):
    """Each is asked long after the other's load."""
    setting = Setting.even(experts=2, slots=1, load_failures=0.5)
    first = [(1000.0 * i, 0) for i in range(12)]
    between = [(1000.0 * i + 500.0, 1) for i in range(12)]
    mixed = asking(*sorted(first + between))
    swapped = asking(*sorted([(at, 0) for at, _ in first] + [(at - 250.0, 1) for at, _ in between]))
    found = [run(trace, setting, policy=policy, seed=seed) for trace in (mixed, swapped) for policy in (OURS, "lru")]
    loads = [(other.load_expert == 0).sum() for other in found]
    refused = [np.isnan(other.done_s[mixed.expert == 0]).tolist() for other in found]
    assert all(answers == refused[0] for answers in refused[1:])
    assert len(set(loads)) == 1


class _GivesWay(SwitchyardRules):
    """At once, busy or not."""

    def leaves_at(self, resident, wanted, now):
        return now


def test_a_request_for_an_expert_on_its_way_out_is_cold():
    setting = Setting.even(experts=2, slots=1)
    trace = asking((0.0, 0), (7.0, 1), (7.5, 0))
    assert simulate(trace, setting, _GivesWay()).cold.tolist() == [True, True, True]


def test_a_run_is_given_up_when_too_many_were_too_slow():
    trace = asking((0.0, 0), (0.0, 1), (0.0, 2))
    assert run(trace, patience=Patience(8.0, 1)).latency_s.max() > 8.0
    with pytest.raises(TooSlow):
        run(trace, patience=Patience(8.0, 0))


class _Idle(SwitchyardRules):
    def load_order(self, wanted, now):
        return ()


def test_a_policy_that_leaves_requests_waiting_is_told_off():
    with pytest.raises(RuntimeError, match="leaves 2 of 2 requests waiting for ever"):
        simulate(asking((0.0, 0), (1.0, 1)), TWO, _Idle())


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        (asking((0.0, 7)), "asks for expert 7, and there are 3, numbered from 0"),
        (asking((0.0, 0), utilities=np.array([[1.0, 0.5]])), "utilities of 2 experts, and there are 3"),
    ],
)
def test_a_trace_for_another_machine_is_refused(trace, message):
    with pytest.raises(ValueError, match=message):
        run(trace)
