"""Whether any router got significantly worse than in an earlier sweep: what `switchyard bench --baseline old.parquet` fails by.

    for change in changes(rows, read_rows(Path("old.parquet"))):
        change.router, change.setting.title, change.difference, change.is_worse

Rewards of the same queries are compared pairwise; where the queries changed, means are compared by their intervals, which finds
less. Holm's correction over all comparisons keeps the chance of a false alarm below 5% however many routers there are. By reward
alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from evals.metrics.significance import holm, p_value
from evals.sweeps.nouns import Row, Setting
from evals.sweeps.summary import settings_of

ALPHA = 0.05
HALF_WIDTH = 1.96
"""Of a 95% interval, in standard errors."""


@dataclass(frozen=True, slots=True)
class Change:
    """difference: mean reward now, less that of the baseline. p_adjusted: two-sided, by Holm. is_paired: of the same queries."""

    setting: Setting
    router: str
    difference: float
    p_adjusted: float
    is_paired: bool

    @property
    def is_worse(self) -> bool:
        return self.difference < 0.0 and self.p_adjusted < ALPHA


def changes(rows: Sequence[Row], baseline: Sequence[Row]) -> list[Change]:
    """Of every router and data set that both know, in the order of `rows`."""
    before = dict(settings_of(baseline))
    compared = []
    for setting, now in settings_of(rows):
        for router in dict.fromkeys(row.router for row in now):
            old = [row for row in before.get(setting, []) if row.router == router]
            if old:
                new = [row for row in now if row.router == router]
                compared.append(((setting, router), *_compared(new, old)))
    adjusted = holm([chance for _, _, chance, _ in compared])
    return [
        Change(*which, difference, float(p), is_paired)
        for (which, difference, _, is_paired), p in zip(compared, adjusted, strict=True)
    ]


def lost(rows: Sequence[Row], baseline: Sequence[Row], routers: Collection[str]) -> list[tuple[Setting, str]]:
    """What the baseline has of these routers in settings that were measured now too, and this sweep has not."""
    now = {(setting, row.router) for setting, found in settings_of(rows) for row in found}
    settings = {setting for setting, _ in now}
    before = {(setting, row.router) for setting, found in settings_of(baseline) for row in found}
    return sorted(which for which in before - now if which[0] in settings and which[1] in routers)


def _compared(new: Sequence[Row], old: Sequence[Row]) -> tuple[float, float, bool]:
    """The difference, its chance if nothing had changed, and whether it is paired."""
    if {row.queries for row in new} == {row.queries for row in old} and len({row.queries for row in new}) == 1:
        differences = np.mean([row.earned for row in new], axis=0) - np.mean([row.earned for row in old], axis=0)
        return float(differences.mean()), p_value(differences) if differences.any() else 1.0, True
    difference = float(np.mean([row.reward for row in new]) - np.mean([row.reward for row in old]))
    error = float(np.hypot(_error(new), _error(old)))
    return difference, float(2 * norm.sf(abs(difference) / error)) if error else float(difference == 0.0), False


def _error(rows: Sequence[Row]) -> float:
    """Standard error of a mean; seeds share queries, so that more of them don't make it smaller."""
    return float(np.mean([(row.ci95[1] - row.ci95[0]) / (2 * HALF_WIDTH) for row in rows]))
