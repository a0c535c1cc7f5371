"""Ten machines with their requests, other than the one that `switchyard simulate` has by default.

    scenario = SCENARIOS["bursty"]
    trace = scenario.workload.trace(len(scenario.setting.experts), seed=0)

Rates are at three quarters of what exhaustive service bears there (the highest rate with a p99 of 120 s, by `limits.py`), where
policies differ and most keep up; `light` is at a fifth and `overload` at five quarters. None was chosen for what ours makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evals.simulation.base import SLOT_BYTES, Setting
from evals.simulation.workloads import Workload


@dataclass(frozen=True, slots=True)
class Scenario:
    """A machine, and what is asked of it."""

    setting: Setting
    workload: Workload


def _uneven_sizes() -> Setting:
    """From 1 to 8 GB each, of which 12 GB fit; loads read 0.7 GB/s."""
    size_bytes = np.geomspace(1.0, 8.0, 12) * SLOT_BYTES
    setting = Setting.even(experts=12)
    return replace(
        setting, size_bytes=size_bytes.astype(np.int64), budget_bytes=12 * SLOT_BYTES, load_s=size_bytes / 0.7e9
    )


def _uneven_swaps() -> Setting:
    """Loads from 1 to 30 s."""
    return replace(Setting.even(), load_s=np.geomspace(1.0, 30.0, 16))


SCENARIOS: dict[str, Scenario] = {
    "bursty": Scenario(Setting.even(), Workload(rate=1.4, arrivals="bursty")),
    "drifting": Scenario(Setting.even(), Workload(rate=2.9, drift_s=300.0)),
    "agentic": Scenario(Setting.even(), Workload(rate=1.9, session_calls=8.0)),
    "diurnal": Scenario(Setting.even(), Workload(rate=1.9, arrivals="diurnal")),
    "uneven_sizes": Scenario(_uneven_sizes(), Workload(rate=2.9)),
    "uneven_swaps": Scenario(_uneven_swaps(), Workload(rate=2.0)),
    "many_experts": Scenario(Setting.even(experts=100, slots=8), Workload(rate=7.7)),
    "continuous": Scenario(replace(Setting.even(batching="continuous"), slowing=0.1), Workload(rate=1.8)),
    "light": Scenario(Setting.even(), Workload(rate=0.75)),
    "overload": Scenario(Setting.even(), Workload(rate=4.6)),
}
