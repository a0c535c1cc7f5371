"""What runs come to."""

from __future__ import annotations

import numpy as np
import pytest

from evals.simulation.base import NOBODY, Run
from evals.simulation.measures import as_json, measure, table


def a_run(latency_s, *, cold=None, loads=1):
    """Requests at 0, 1, 2, ... seconds; NaN for one that was refused."""
    latency_s = np.array(latency_s, dtype=float)
    n = len(latency_s)
    arrived_s = np.arange(n, dtype=float)
    expert = np.where(np.isnan(latency_s), NOBODY, 0)
    is_cold = np.zeros(n, dtype=bool) if cold is None else np.array(cold)
    return Run(
        arrived_s, arrived_s, arrived_s + latency_s, expert, is_cold, np.zeros(loads, dtype=int), np.zeros(loads)
    )


def test_runs_are_pooled():
    row = measure("ours", [a_run([1.0, 2.0, 3.0], loads=2), a_run([10.0, 20.0], loads=1)])
    assert row.latency_s.mean == pytest.approx(7.2)
    assert row.latency_s.p50 == 3.0
    assert row.latency_s.max == 20.0
    assert row.served_per_s == pytest.approx(5 / (5.0 + 21.0))
    assert row.swaps_per_100 == pytest.approx(60.0)


def test_the_p99_is_that_of_all_requests_together():
    row = measure("ours", [a_run(range(1, 51)), a_run(range(51, 101))])
    assert row.latency_s.p99 == pytest.approx(np.percentile(np.arange(1, 101), 99))


def test_cold_requests_have_a_p99_of_their_own():
    row = measure("ours", [a_run([1.0, 9.0, 2.0, 7.0], cold=[False, True, False, True])])
    assert row.cold_p99_s == pytest.approx(np.percentile([9.0, 7.0], 99))
    assert measure("ours", [a_run([1.0, 2.0])]).cold_p99_s is None


def test_a_refused_request_is_not_served_and_has_no_latency():
    row = measure("ours", [a_run([1.0, np.nan, 3.0])], rewards=[np.array([1.0, np.nan, 0.0])])
    assert row.latency_s.mean == 2.0
    assert row.served_per_s == pytest.approx(2 / 5.0)
    assert row.reward == 0.5


def test_there_is_no_row_where_nothing_was_answered():
    with pytest.raises(ValueError, match="ours: no request was answered"):
        measure("ours", [a_run([np.nan])])


def test_json_has_a_reward_only_where_there_is_one():
    plain = as_json(measure("ours", [a_run([1.0])]))
    assert list(plain) == ["policy", "served_per_s", "swaps_per_100", "latency_s", "cold_p99_s", "max_rate_p99_120"]
    assert list(plain["latency_s"]) == ["mean", "p50", "p99", "max"]
    assert plain["max_rate_p99_120"] is None
    assert as_json(measure("ours", [a_run([1.0])], [np.array([0.75])]))["reward"] == 0.75


def test_a_table_shows_what_there_is():
    rows = [measure("ours", [a_run([1.0])]), measure("fifo", [a_run([2.0], cold=[True])], max_rate_p99_120=1.5)]
    columns, lines = table(rows)
    assert columns[-2:] == ("cold p99 s", "highest rate/s")
    assert "reward" not in columns
    assert [line[-2:] for line in lines] == [("", ""), ("2.000", "1.500")]
