"""The highest rate that a policy can take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evals.simulation.base import Setting
from evals.simulation.limits import keeps_up, max_rate
from evals.simulation.registry import OURS
from evals.simulation.workloads import Workload

ONE = Setting.even(experts=1, slots=1, swap_s=1.0, batch=2, batch_s=1.0)


def requests(rate, seed):
    return Workload(requests=1500, rate=rate).trace(1, seed)


def test_it_is_a_little_above_what_the_machine_can_serve_in_the_long_run():
    """Two a second, and what falls behind within 1,500 requests and 120 s."""
    found = max_rate(requests, ONE, OURS, seeds=2, start=0.5)
    assert found == pytest.approx(2.3, rel=0.1)
    assert keeps_up([requests(found, seed) for seed in range(2)], ONE, OURS)
    assert not keeps_up([requests(found * 1.02, seed) for seed in range(2)], ONE, OURS)


def test_it_is_the_same_from_wherever_the_search_begins():
    found = [max_rate(requests, ONE, OURS, seeds=1, start=start) for start in (0.1, 16.0)]
    assert found[0] == pytest.approx(found[1], rel=0.02)


@pytest.mark.parametrize("setting", [replace(ONE, service_s=ONE.service_s * 200), Setting.even(1, 1, 0.0, 2000, 1.0)])
def test_there_is_none_for_a_machine_that_is_always_too_slow_or_never(setting):
    assert max_rate(lambda rate, seed: Workload(requests=200, rate=rate).trace(1, seed), setting, OURS, seeds=1) is None
