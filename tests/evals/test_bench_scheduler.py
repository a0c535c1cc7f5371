"""What a decision of the scheduler takes is measured on a machine that is really busy."""

from __future__ import annotations

from evals.bench_scheduler import bench_scheduler


def test_events_are_timed_for_each_number_of_candidates() -> None:
    rows = list(bench_scheduler(experts=(12,), resident=3, waiting=60, candidates=(1, 4), events=100))
    assert [row.candidates for row in rows] == [1, 4]
    assert all(row.events >= 100 for row in rows)
    assert all(0.0 < row.median_us <= row.p99_us for row in rows)


def test_a_fleet_over_several_nodes_tells_its_decisions_and_its_memory() -> None:
    (row,) = bench_scheduler(experts=(300,), resident=8, waiting=60, candidates=(2,), nodes=4, events=100)
    assert (row.experts, row.nodes) == (300, 4)
    assert row.decisions_per_s > 0.0
    assert 0.0 < row.fleet_mb < row.process_mb
