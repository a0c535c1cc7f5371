"""Ours beside the best of the others, scenario by scenario: `python -m evals.bench scenarios`.

    for row in compare_scenarios(["bursty"], requests=4000, seeds=5, workers=2):
        row.p99_by, row.p99_change        # ("quantum", -0.08): the best other policy's, and by how much ours is lower

The best is another policy for served rate than for p99 where that is so, and the one that turned out best over all seeds. Changes
are paired: of the same requests, ours by theirs, averaged over seeds. Another policy that lets more than one request in a hundred
wait for ten minutes is out of the running. Not here: the scenarios (`scenarios.py`), one of them in full (`switchyard simulate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evals.markdown import markdown_table
from evals.simulation.base import Floats
from evals.simulation.measures import measure
from evals.simulation.registry import CONTENDERS, OURS, make_rules
from evals.simulation.running import Patience, TooSlow, simulate
from evals.simulation.scenarios import SCENARIOS
from evals.sweeps.spreading import processes
from routers.training.evaluation import Interval, bootstrap

OUT_S = 600.0
TOLERANCE = 0.05
"""By how much ours may be worse than the best of the others."""

Measured = tuple[Floats, Floats]
"""(seeds,) served per second, and p99 in seconds."""


@dataclass(frozen=True, slots=True)
class ScenarioRow:
    """One scenario. Changes are parts of 1, with their 95% interval over seeds; more is better for served, less for p99.

    served_by, p99_by: whose is best but for ours. holds: ours is worse than that by at most `TOLERANCE` in either. leads: it holds,
    and the whole interval of the p99's change is below 0.
    """

    scenario: str
    served_per_s: float
    served_by: str
    served_change: float
    served_low: float
    served_high: float
    p99_s: float
    p99_by: str
    p99_change: float
    p99_low: float
    p99_high: float
    holds: bool
    leads: bool


def compare_scenarios(names: Iterable[str], *, requests: int, seeds: int, workers: int = 1) -> Iterator[ScenarioRow]:
    """A row each, as they come to be known. Raises ValueError, with those that there are, for an unknown scenario."""
    for name in names:
        if name not in SCENARIOS:
            raise ValueError(f"unknown scenario '{name}', expected one of {', '.join(SCENARIOS)}")
        yield scenario_row(name, _measured(name, requests, seeds, workers))


def scenario_row(name: str, measured: dict[str, Measured]) -> ScenarioRow:
    """measured: by policy, ours and at least one other that stayed in the running; the p99 of the rest is infinite."""
    others = [policy for policy, (_, p99_s) in measured.items() if policy != OURS and np.isfinite(p99_s).all()]
    served_by = max(others, key=lambda policy: measured[policy][0].mean())
    p99_by = min(others, key=lambda policy: measured[policy][1].mean())
    served_per_s, p99_s = measured[OURS]
    served = _change(served_per_s, measured[served_by][0])
    p99 = _change(p99_s, measured[p99_by][1])
    holds = served.mean >= -TOLERANCE and p99.mean <= TOLERANCE
    return ScenarioRow(
        scenario=name,
        served_per_s=float(served_per_s.mean()),
        served_by=served_by,
        served_change=served.mean,
        served_low=served.low,
        served_high=served.high,
        p99_s=float(p99_s.mean()),
        p99_by=p99_by,
        p99_change=p99.mean,
        p99_low=p99.low,
        p99_high=p99.high,
        holds=holds,
        leads=holds and p99.high < 0,
    )


def _measured(name: str, requests: int, seeds: int, workers: int) -> dict[str, Measured]:
    policies = (OURS, *CONTENDERS)
    work = [(_run, (name, policy, requests, seed)) for policy in policies for seed in range(seeds)]
    measured = {policy: (np.empty(seeds), np.empty(seeds)) for policy in policies}
    with processes(workers) as spread:
        for policy, seed, served_per_s, p99_s in spread(work):
            measured[policy][0][seed], measured[policy][1][seed] = served_per_s, p99_s
    return measured


def _run(name: str, policy: str, requests: int, seed: int) -> tuple[str, int, float, float]:
    scenario = SCENARIOS[name]
    trace = replace(scenario.workload, requests=requests).trace(len(scenario.setting.experts), seed)
    rules = make_rules(policy, scenario.setting, trace)
    patience = None if policy == OURS else Patience(OUT_S, requests // 100)
    try:
        row = measure(policy, [simulate(trace, scenario.setting, rules, patience, seed)])
    except TooSlow:
        return policy, seed, 0.0, np.inf
    return policy, seed, row.served_per_s, row.latency_s.p99


def _change(ours: Floats, theirs: Floats) -> Interval:
    return bootstrap((ours / theirs - 1.0).astype(np.float32))


def scenario_table(rows: Sequence[ScenarioRow]) -> str:
    """Markdown: a line a scenario, and what they say together."""
    header = ["scenario", "served, 1/s", "change", "best other", "p99, s", "change", "best other"]
    lower, led, held = (sum(flags) for flags in zip(*((r.p99_change < 0, r.leads, r.holds) for r in rows), strict=True))
    told = (
        f"{OURS}'s p99 is below that of the best of {len(CONTENDERS)} other policies on {lower} of {len(rows)}, beyond chance on "
        f"{led}; it is within {TOLERANCE:.0%} of the best in requests served and in p99 on {held}."
    )
    return f"{markdown_table(header, map(_cells, rows))}\n\n{told}\n"


def _cells(row: ScenarioRow) -> list[str]:
    return [
        row.scenario,
        f"{row.served_per_s:.2f}",
        _in_percent(row.served_change, row.served_low, row.served_high),
        row.served_by,
        f"{row.p99_s:.0f}",
        _in_percent(row.p99_change, row.p99_low, row.p99_high),
        row.p99_by,
    ]


def _in_percent(change: float, low: float, high: float) -> str:
    return f"{change:+.1%} ({100 * low:.1f} to {100 * high:.1f})"
