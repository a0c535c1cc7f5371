"""What planning again is worth when traffic drifts."""

from evals.placement import bench_placement


def rows(**options):
    asked = {"experts": 6, "nodes": 2, "memory": 1.5, "windows": 3, "seeds": 1, "time_limit_s": 0.5} | options
    return {row.policy: row for row in bench_placement(**asked)}


def test_replanned_placements_follow_the_traffic_for_fewer_moves_than_new_ones():
    found = rows()
    assert found["replanned"].busiest <= found["static"].busiest
    assert found["replanned"].total <= found["random"].total
    assert found["replanned"].moved_gb <= found["from scratch"].moved_gb
    assert found["static"].moved_gb == found["random"].moved_gb == 0.0


def test_memory_that_is_too_small_costs_swaps():
    assert rows(memory=0.3, windows=2)["replanned"].swapping > 0
