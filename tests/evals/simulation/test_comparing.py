"""Several policies on the same requests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evals.simulation.base import Setting, Trace
from evals.simulation.comparing import compare
from evals.simulation.entrants import recorded, replayed, synthetic
from evals.simulation.registry import OURS, POLICIES, policy_names
from evals.simulation.replay import ROUTE_THEN_SCHEDULE, Replay
from evals.simulation.workloads import Workload

WORKLOAD = Workload(requests=200, rate=3.0)
SETTING = Setting.even(experts=4, slots=2)


def test_there_is_a_row_for_each_in_their_order():
    rows = compare(synthetic(["lru", OURS, "fifo"], WORKLOAD, 4), SETTING, rate=3.0, seeds=2)
    assert [row.policy for row in rows] == ["lru", OURS, "fifo"]
    assert rows[1].latency_s.p99 < rows[2].latency_s.p99


def test_several_processes_find_what_one_does():
    entrants = synthetic([OURS, "lru"], WORKLOAD, 4)
    alone = compare(entrants, SETTING, rate=3.0, seeds=2)
    assert compare(entrants, SETTING, rate=3.0, seeds=2, workers=2) == alone


def test_highest_rates_are_looked_for_when_asked():
    entrants = synthetic([OURS], replace(WORKLOAD, requests=1000), 2)
    setting = Setting.even(experts=2, slots=2, batch=1, batch_s=1.0)
    (row,) = compare(entrants, setting, rate=1.0, seeds=1, limits=True)
    assert row.max_rate_p99_120 is not None
    assert 1.0 < row.max_rate_p99_120 < 3.0


def test_progress_is_told():
    told = []
    compare(synthetic([OURS], WORKLOAD, 4), SETTING, rate=3.0, seeds=2, progress=lambda *seen: told.append(seen))
    assert told == [("simulating", 0, 2), ("simulating", 1, 2), ("simulating", 2, 2)]


def test_every_policy_gets_the_same_requests():
    traces = [entrant.requests(3.0, 1) for entrant in synthetic(list(POLICIES), WORKLOAD, 4)]
    assert all((trace.at_s == traces[0].at_s).all() and (trace.expert == traces[0].expert).all() for trace in traces)


def test_a_recorded_trace_is_what_it_is():
    trace = Trace(np.array([0.0, 1.0]), np.array([0, 1]))
    (entrant,) = recorded([OURS], trace)
    assert entrant.requests(99.0, 7) is trace


def replay_of(scores, rewards):
    return Replay(
        ("a", "b"), np.array(scores), np.array(rewards), np.zeros(len(scores), dtype=int), ["q"] * len(scores)
    )


def test_with_outcomes_ours_chooses_and_stands_beside_the_router_alone():
    """The second expert is a little worse by its scores, and as good by its rewards; there is room for one."""
    found = [replay_of([[0.8, 0.79], [0.79, 0.8]], [[1.0, 1.0], [0.0, 0.0]])]
    setting = Setting.even(["a", "b"], slots=1)
    rows = compare(replayed([OURS, "lru"], found, WORKLOAD, mu=0.01), setting, rate=3.0, seeds=2)
    assert [row.policy for row in rows] == [OURS, ROUTE_THEN_SCHEDULE, "lru"]
    assert [row.reward for row in rows] == [0.5, 0.5, 0.5]
    assert rows[0].latency_s.p99 < rows[1].latency_s.p99 / 2


def test_policies_are_named_by_commas_or_all_at_once():
    assert policy_names("all") == list(POLICIES)
    assert policy_names("fifo, switchyard,fifo") == ["fifo", "switchyard"]
    with pytest.raises(ValueError, match="unknown policy 'fiffo', expected one of switchyard, fifo"):
        policy_names("fiffo")
