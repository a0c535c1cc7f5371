"""What a decision of the scheduler takes is measured on a machine that is really busy."""

from __future__ import annotations

from evals.bench_scheduler import bench_scheduler


def test_events_are_timed_for_each_number_of_candidates():
    rows = list(bench_scheduler(experts=12, resident=3, waiting=60, candidates=(1, 4), events=100))
    assert [row.candidates for row in rows] == [1, 4]
    assert all(row.events >= 100 for row in rows)
    assert all(0.0 < row.median_us <= row.p99_us for row in rows)
