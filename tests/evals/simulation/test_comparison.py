"""Ours beside the best of the others: which that is, by how much, and what is said about it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from evals.bench import app
from evals.simulation.comparison import compare_scenarios, scenario_row, scenario_table
from evals.simulation.registry import CONTENDERS


def measured(**policies: tuple[list[float], list[float]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {policy: (np.array(served), np.array(p99)) for policy, (served, p99) in policies.items()}


def test_the_best_of_the_others_may_be_two_of_them():
    row = scenario_row(
        "bursty",
        measured(
            switchyard=([3.0, 3.0], [50.0, 60.0]),
            fast=([2.0, 3.2], [100.0, 80.0]),
            throughput=([3.0, 3.1], [200.0, 70.0]),
        ),
    )
    assert (row.served_by, row.p99_by) == ("throughput", "fast")
    assert row.served_per_s == pytest.approx(3.0)
    assert row.p99_s == pytest.approx(55.0)


def test_changes_are_paired_by_seed():
    row = scenario_row("bursty", measured(switchyard=([2.0, 6.0], [10.0, 90.0]), other=([2.5, 7.5], [20.0, 180.0])))
    assert row.served_change == row.served_low == row.served_high == pytest.approx(-0.2)
    assert row.p99_change == row.p99_low == row.p99_high == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("served", "p99", "holds", "leads"),
    [
        ([1.0, 1.0], [90.0, 95.0], True, True),
        ([1.0, 1.0], [80.0, 102.0], True, False),  # lower on average, not surely
        ([1.0, 1.0], [104.0, 104.0], True, False),
        ([1.0, 1.0], [106.0, 106.0], False, False),
        ([0.96, 0.96], [90.0, 95.0], True, True),
        ([0.94, 0.94], [90.0, 95.0], False, False),
    ],
)
def test_a_row_holds_within_the_tolerance_and_leads_where_that_is_sure(served, p99, holds, leads):
    row = scenario_row("bursty", measured(switchyard=(served, p99), other=([1.0, 1.0], [100.0, 100.0])))
    assert (row.holds, row.leads) == (holds, leads)


def test_who_is_out_of_the_running_is_never_the_best():
    row = scenario_row(
        "bursty",
        measured(
            switchyard=([1.0, 1.0], [50.0, 60.0]), out=([9.0, 9.0], [1.0, np.inf]), other=([5.0, 5.0], [80.0, 80.0])
        ),
    )
    assert (row.served_by, row.p99_by) == ("other", "other")


def test_an_unknown_scenario_is_told_from_those_that_there_are():
    with pytest.raises(ValueError, match=r"unknown scenario 'brsty', expected one of bursty, drifting"):
        list(compare_scenarios(["brsty"], requests=100, seeds=2))


def test_the_benchmark_says_the_same_each_time():
    call = ["scenarios", "--only", "light", "--requests", "100", "--seeds", "2", "--json"]
    first, second = (CliRunner().invoke(app, call) for _ in range(2))
    assert first.exit_code == 0
    (row,) = json.loads(first.stdout)
    assert row["scenario"] == "light"
    assert row["p99_low"] <= row["p99_change"] <= row["p99_high"]
    assert first.stdout == second.stdout


def test_a_table_ends_with_what_its_rows_say_together():
    rows = [
        scenario_row("a", measured(switchyard=([1.0, 1.0], [90.0, 90.0]), other=([1.0, 1.0], [100.0, 100.0]))),
        scenario_row("b", measured(switchyard=([1.0, 1.0], [110.0, 110.0]), other=([1.0, 1.0], [100.0, 100.0]))),
    ]
    table = scenario_table(rows).splitlines()
    assert table[2] == "| a | 1.00 | +0.0% (0.0 to 0.0) | other | 90 | -10.0% (-10.0 to -10.0) | other |"
    assert table[-1].startswith(
        f"switchyard's p99 is below that of the best of {len(CONTENDERS)} other policies on 1 of 2, beyond chance on 1; "
    )
    assert table[-1].endswith("in p99 on 1.")
