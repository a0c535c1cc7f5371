"""What runs come to: `measure("switchyard", runs)` is a row, `as_json(row)` what is printed of it.

    row = measure("switchyard", [simulate(trace, setting, rules) for trace in traces])
    row.latency_s.p99, row.served_per_s

The runs of one policy are pooled: a percentile is that of all their requests together. A refused request is not served, and in a
percentile it takes forever. Not here: comparisons of two policies (`comparison.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evals.simulation.base import Floats, Run

PATIENCE_S = 120.0
"""The p99 that `max_rate_p99_120` asks for."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from arrival to completion. mean, max: of what was answered. p50, p99: of all; infinite if too many were refused."""

    mean: float
    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Row:
    """A policy on a workload.

    served_per_s: answers, by the time when the last of a run was given. swaps_per_100: loads per 100 requests. cold_p99_s: of
    requests whose expert was not in memory when they came, refused ones included; None when there were none. max_rate_p99_120: the
    most requests a second with a p99 of at most 120 s; None when it wasn't looked for, or is beyond what was tried. reward: mean,
    0..1, of who answered; None where requests are not real queries. refused: the part of the requests that got no answer, 0..1.
    """

    policy: str
    served_per_s: float
    swaps_per_100: float
    latency_s: Latency
    cold_p99_s: float | None
    max_rate_p99_120: float | None = None
    reward: float | None = None
    refused: float = 0.0


def measure(
    policy: str, runs: Sequence[Run], rewards: Sequence[Floats] = (), max_rate_p99_120: float | None = None
) -> Row:
    """rewards: of each run's requests. Raises ValueError when nothing was answered."""
    latency_s = np.concatenate([run.latency_s for run in runs])
    answered = ~np.isnan(latency_s)
    if not answered.any():
        raise ValueError(f"{policy}: no request was answered")
    cold = np.concatenate([run.cold for run in runs])
    answered_s = latency_s[answered]
    return Row(
        policy=policy,
        served_per_s=len(answered_s) / sum(float(np.nanmax(run.done_s, initial=0.0)) for run in runs),
        swaps_per_100=100.0 * sum(len(run.load_s) for run in runs) / len(answered),
        latency_s=Latency(
            float(answered_s.mean()), percentile_s(latency_s, 50), percentile_s(latency_s, 99), float(answered_s.max())
        ),
        cold_p99_s=percentile_s(latency_s[cold], 99) if cold.any() else None,
        max_rate_p99_120=max_rate_p99_120,
        reward=float(np.nanmean(np.concatenate(rewards))) if rewards else None,
        refused=1.0 - len(answered_s) / len(answered),
    )


def percentile_s(latency_s: Floats, percent: float) -> float:
    """latency_s: (n,), at least one; NaN for a request without answer, which takes forever. Interpolated, as numpy's is."""
    answered_s = np.sort(latency_s[~np.isnan(latency_s)])
    position = percent * (len(latency_s) - 1) / 100.0
    if position > len(answered_s) - 1:
        return math.inf
    return float(np.interp(position, np.arange(len(answered_s)), answered_s))


def as_json(row: Row) -> dict[str, Any]:
    """Without a reward where there is none; None for what is infinite, which JSON has no word for."""
    fields = asdict(row)
    if row.reward is None:
        del fields["reward"]
    fields["latency_s"] = {name: finite(value) for name, value in fields["latency_s"].items()}
    fields["cold_p99_s"] = None if row.cold_p99_s is None else finite(row.cold_p99_s)
    return fields


def finite(value: float) -> float | None:
    """None in place of what is infinite."""
    return value if math.isfinite(value) else None


def table(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Columns and cells for a terminal; the highest rate, the reward and what was refused where any row has some."""
    columns: dict[str, list[float | None]] = {
        "served/s": [row.served_per_s for row in rows],
        "swaps/100": [row.swaps_per_100 for row in rows],
        "mean s": [row.latency_s.mean for row in rows],
        "p50 s": [row.latency_s.p50 for row in rows],
        "p99 s": [row.latency_s.p99 for row in rows],
        "max s": [row.latency_s.max for row in rows],
        "cold p99 s": [row.cold_p99_s for row in rows],
        "highest rate/s": [row.max_rate_p99_120 for row in rows],
        "reward": [row.reward for row in rows],
        "refused": [row.refused or None for row in rows],
    }
    shown = {name: cells for name, cells in columns.items() if any(cell is not None for cell in cells)}
    lines: list[tuple[object, ...]] = [
        (row.policy, *("" if cells[number] is None else f"{cells[number]:.3f}" for cells in shown.values()))
        for number, row in enumerate(rows)
    ]
    return ("policy", *shown), lines
