"""Residency metrics of a trace, each against its definition by brute force."""

from __future__ import annotations

from functools import cache
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.simulation.base import SLOT_BYTES, Setting, Trace
from evals.simulation.residency import IN_ORDER, loads_in_order, residency_report, segments_of
from evals.simulation.workloads import Workload

EXPERTS = 3


def experts_of(least, most):
    wanted = st.lists(st.integers(0, EXPERTS - 1), min_size=least, max_size=most)
    return wanted.map(lambda experts: np.array(experts, dtype=np.int64))


def sets_of_experts():
    return [set(chosen) for size in range(EXPERTS + 1) for chosen in combinations(range(EXPERTS), size)]


def f1_of(stretches, chosen):
    """Of predicting that each request wants all experts of the set chosen for its stretch, and no other."""
    matches = sum(expert in wanted for stretch, wanted in zip(stretches, chosen, strict=True) for expert in stretch)
    predicted = sum(len(stretch) * len(wanted) for stretch, wanted in zip(stretches, chosen, strict=True))
    return 2 * matches / (predicted + sum(map(len, stretches)))


def fewest_loads(experts, slots):
    """Over everything that could be evicted."""

    @cache
    def fewest(position, resident):
        if position == len(experts):
            return 0
        wanted = experts[position]
        if wanted in resident:
            return fewest(position + 1, resident)
        kept = [resident] if len(resident) < slots else [resident - {victim} for victim in resident]
        return 1 + min(fewest(position + 1, others | {wanted}) for others in kept)

    return fewest(0, frozenset())


@given(experts_of(4, 6))
def test_routing_performance_is_the_best_f1_over_all_sets(experts):
    stretches = [experts[start : start + 4].tolist() for start in range(len(experts) - 3)]
    best = max(f1_of(stretches, chosen) for chosen in product(sets_of_experts(), repeat=len(stretches)))
    assert segments_of(experts, 4, EXPERTS).performance == pytest.approx(best)


@given(experts_of(5, 12))
def test_shares_are_those_of_the_best_experts_for_each_stretch(experts):
    stretches = [experts[start : start + 5].tolist() for start in range(len(experts) - 4)]
    shares = segments_of(experts, 5, EXPERTS).shares
    for size in range(1, EXPERTS + 1):
        best = [
            max(sum(expert in chosen for expert in stretch) for chosen in combinations(range(EXPERTS), size))
            for stretch in stretches
        ]
        assert shares[size - 1] == pytest.approx(np.mean(best) / 5)


@given(experts_of(1, 12), st.integers(1, EXPERTS))
def test_no_replacement_in_order_loads_less(experts, slots):
    assert loads_in_order(experts, np.ones(EXPERTS, dtype=np.int64), slots) == fewest_loads(experts.tolist(), slots)


@given(experts_of(1, 30), st.lists(st.integers(1, 4), min_size=EXPERTS, max_size=EXPERTS))
def test_with_room_for_all_everybody_is_loaded_once(experts, sizes):
    assert loads_in_order(experts, np.array(sizes), sum(sizes)) == len(set(experts.tolist()))


def test_who_is_needed_last_goes_until_there_is_room():
    experts = np.array([0, 1, 2, 0, 1])
    assert loads_in_order(experts, np.array([1, 1, 2]), 3) == 4  # expert 1 makes room for 2, and comes back for 2
    assert loads_in_order(experts, np.array([1, 1, 2]), 4) == 3


def test_runs_of_one_expert_are_perfectly_consistent():
    segments = segments_of(np.zeros(50, dtype=np.int64), 10, EXPERTS)
    assert segments.performance == 1.0
    assert segments.set_size == 1.0
    assert segments.shares == (1.0, 1.0, 1.0)


def test_long_traces_are_sampled_evenly():
    experts = np.random.default_rng(0).integers(0, EXPERTS, 20_000)
    assert segments_of(experts, 1, EXPERTS).shares[0] == 1.0
    assert segments_of(experts, 100, EXPERTS).shares[0] == pytest.approx(0.38, abs=0.02)


def test_sessions_make_a_trace_more_consistent():
    apart = Workload(requests=2000, zipf=0.0).trace(8, seed=0).expert
    drifting = Workload(requests=2000, zipf=2.0, drift_s=60.0).trace(8, seed=0).expert
    assert segments_of(drifting, 50, 8).performance > segments_of(apart, 50, 8).performance + 0.2


def test_what_another_slot_buys():
    setting = Setting.even(experts=4, slots=1)
    trace = Workload(requests=300, rate=0.5).trace(4, seed=1)
    report = residency_report(trace, setting, lengths=(10, 1000), policies=("switchyard",))
    assert [segments.length for segments in report.segments] == [10]
    for policy in (IN_ORDER, "switchyard"):
        rows = [row for row in report.memory if row.policy == policy]
        assert [row.slots for row in rows] == [1.0, 2.0, 3.0, 4.0]
        assert rows[-1].swaps_per_100 == pytest.approx(100 * 4 / 300)
        assert (rows[0].p99_s is None) == (rows[0].ready_on_arrival is None) == (policy == IN_ORDER)
    ready = [row.ready_on_arrival for row in report.memory if row.policy == "switchyard"]
    assert ready[-1] > ready[0]
    in_order = [row.swaps_per_100 for row in report.memory if row.policy == IN_ORDER]
    assert in_order == sorted(in_order, reverse=True)


def test_who_came_while_its_expert_was_in_memory_is_counted_though_nobody_else_needs_a_load_of_his_own():
    """Two wait for the load of the first, the fourth comes when it is over."""
    trace = Trace(np.array([0.0, 1.0, 2.0, 20.0]), np.zeros(4, dtype=np.int64))
    setting = Setting.even(experts=2, slots=1, swap_s=6.0)
    row = residency_report(trace, setting, policies=("switchyard",), budgets_bytes=(SLOT_BYTES,)).memory[-1]
    assert (row.ready_on_arrival, row.swaps_per_100) == (0.25, 25.0)


def test_budgets_can_be_named():
    report = residency_report(
        Workload(requests=20).trace(4, seed=0), Setting.even(experts=4), budgets_bytes=(3 * SLOT_BYTES,)
    )
    assert [(row.slots, row.policy) for row in report.memory] == [(3.0, IN_ORDER)]


def test_an_empty_trace_is_refused():
    with pytest.raises(ValueError, match="no requests"):
        residency_report(Trace(np.zeros(0), np.zeros(0, dtype=np.int64)), Setting.even())
