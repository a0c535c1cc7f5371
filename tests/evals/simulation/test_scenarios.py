"""The ten scenarios are what their names say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evals.simulation.registry import make_rules
from evals.simulation.running import simulate
from evals.simulation.scenarios import SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
def test_requests_of_a_scenario_come_at_its_rate(name):
    scenario = SCENARIOS[name]
    trace = replace(scenario.workload, requests=100_000).trace(len(scenario.setting.experts), seed=1)
    assert len(trace) / trace.at_s[-1] == pytest.approx(scenario.workload.rate, rel=0.05)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_can_be_simulated(name):
    scenario = SCENARIOS[name]
    trace = replace(scenario.workload, requests=1000).trace(len(scenario.setting.experts), seed=1)
    run = simulate(trace, scenario.setting, make_rules("switchyard", scenario.setting, trace))
    assert np.isfinite(run.done_s).all()


def test_there_are_ten_and_none_is_another():
    assert len(SCENARIOS) == 10
    assert len({repr(scenario) for scenario in SCENARIOS.values()}) == 10
