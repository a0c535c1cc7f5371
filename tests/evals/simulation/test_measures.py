"""What runs come to."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evals.simulation.base import NOBODY, Run
from evals.simulation.measures import as_json, measure, percentile_s, table


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


def test_a_refused_request_is_not_served_and_takes_forever():
    row = measure("ours", [a_run([1.0, np.nan, 3.0])], rewards=[np.array([1.0, np.nan, 0.0])])
    assert (row.latency_s.mean, row.latency_s.max) == (2.0, 3.0)
    assert (row.latency_s.p50, row.latency_s.p99) == (3.0, math.inf)
    assert row.served_per_s == pytest.approx(2 / 5.0)
    assert row.reward == 0.5
    assert row.refused == pytest.approx(1 / 3)


def test_few_refusals_leave_the_percentiles_finite():
    row = measure("ours", [a_run([*range(1, 201), np.nan], cold=[False] * 200 + [True])])
    assert row.latency_s.p99 == pytest.approx(199.0)
    assert row.cold_p99_s == math.inf
    told = as_json(row)
    assert (told["cold_p99_s"], told["refused"]) == (None, pytest.approx(1 / 201))
    assert json.dumps(told, allow_nan=False)


def test_json_has_no_number_for_what_is_infinite():
    told = as_json(measure("ours", [a_run([1.0, np.nan])]))
    assert told["latency_s"] == {"mean": 1.0, "p50": None, "p99": None, "max": 1.0}


@given(arrays(float, st.integers(1, 40), elements=st.floats(0, 1e6)), st.floats(0, 100))
def test_a_percentile_without_refusals_is_numpys(latency_s, percent):
    assert percentile_s(latency_s, percent) == pytest.approx(np.percentile(latency_s, percent))


def test_there_is_no_row_where_nothing_was_answered():
    with pytest.raises(ValueError, match="ours: no request was answered"):
        measure("ours", [a_run([np.nan])])


def test_json_has_a_reward_only_where_there_is_one():
    plain = as_json(measure("ours", [a_run([1.0])]))
    asked_for = ["policy", "served_per_s", "swaps_per_100", "latency_s", "cold_p99_s", "max_rate_p99_120"]
    assert list(plain) == [*asked_for, "refused"]
    assert list(plain["latency_s"]) == ["mean", "p50", "p99", "max"]
    assert plain["max_rate_p99_120"] is None
    assert as_json(measure("ours", [a_run([1.0])], [np.array([0.75])]))["reward"] == 0.75


def test_a_table_shows_what_there_is():
    rows = [measure("ours", [a_run([1.0])]), measure("fifo", [a_run([2.0], cold=[True])], max_rate_p99_120=1.5)]
    columns, lines = table(rows)
    assert columns[-2:] == ("cold p99 s", "highest rate/s")
    assert "reward" not in columns
    assert "refused" not in columns
    assert [line[-2:] for line in lines] == [("", ""), ("2.000", "1.500")]


def test_a_table_shows_what_was_refused_where_anything_was():
    columns, lines = table([measure("ours", [a_run([1.0])]), measure("fifo", [a_run([2.0, np.nan])])])
    assert columns[-1] == "refused"
    assert [line[-1] for line in lines] == ["", "0.500"]
