"""Costs of every policy beside the bound, on instances small enough for a test."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from evals.bench import app
from evals.bench_bound import bench_bound
from evals.simulation.registry import POLICIES


def test_every_policy_costs_what_it_waits_and_swaps_and_no_less_than_the_bound():
    rows = list(bench_bound(experts=(3,), requests=25, seeds=2, time_limit_s=20.0))
    assert [(row.seed, row.policy) for row in rows] == [(seed, policy) for seed in range(2) for policy in POLICIES]
    for row in rows:
        assert row.exact
        assert row.cost_s == pytest.approx(row.waited_s + 6.0 * row.loads)
        assert row.gap >= -1e-6
        assert row.cost_s == pytest.approx(row.bound_s * (1.0 + row.gap))


def test_the_command_prints_them():
    result = CliRunner().invoke(app, ["bound", "--experts", "2", "--requests", "5", "--seeds", "1", "--json"])
    assert result.exit_code == 0
    assert '"policy":"switchyard"' in result.output
