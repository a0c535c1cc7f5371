"""A sweep in short: what every router gained on each data set, the mean over seeds, and pooled over data sets.

    for line in summary(rows): line.router, line.data, line.gain

The seeds of a data set hold out the same queries, so a query's rewards are averaged over seeds first, and intervals are over
queries. Pooled is the mean of the data sets' gains, each counting once, with queries drawn anew within each of them. By reward
alone, so that data sets with and without costs can stand together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from evals.metrics.significance import p_value
from evals.sweeps.nouns import Row
from routers.training.evaluation import Interval, bootstrap

POOLED = "pooled"
RESAMPLES = 2_000
BEST_SINGLE = "best_single"


@dataclass(frozen=True, slots=True)
class Line:
    """reward: None where it is pooled. gain: over the best single expert, paired. num_seeds: that were averaged."""

    data: str
    fleet: str
    router: str
    n: int
    num_seeds: int
    reward: float | None
    gain: Interval
    p_value: float | None


def summary(rows: Sequence[Row], pooled: Sequence[str] = ()) -> list[Line]:
    """pooled: the data sets to pool, by default all of them."""
    lines, gains = [], dict[tuple[str, str], dict[str, NDArray[np.float32]]]()
    for (data, fleet), found in settings_of(rows):
        earned = {router: _mean_earned(found, router) for router in dict.fromkeys(row.router for row in found)}
        for router, values in earned.items():
            difference = values - earned[BEST_SINGLE]
            gains.setdefault((fleet, router), {})[data] = difference
            seeds = len({row.seed for row in found})
            chance = p_value(difference) if difference.any() else None
            lines.append(
                Line(data, fleet, router, len(values), seeds, float(values.mean()), bootstrap(difference), chance)
            )
    for (fleet, router), by_data in gains.items():
        chosen = [values for data, values in by_data.items() if not pooled or data in pooled]
        if len(chosen) > 1:
            lines.append(_pooled(fleet, router, chosen))
    return lines


def settings_of(rows: Sequence[Row]) -> Iterator[tuple[tuple[str, str], list[Row]]]:
    """By data set and fleet, the rows of reward alone."""
    told = sorted((row for row in rows if row.earned), key=_setting)
    for key, found in groupby(told, key=_setting):
        yield key, list(found)


def _setting(row: Row) -> tuple[str, str]:
    return row.data, row.fleet


def _mean_earned(rows: Sequence[Row], router: str) -> NDArray[np.float32]:
    """Over seeds, by query. Seeds that dropped other duplicates tested other queries: those they share count."""
    found = [row for row in rows if row.router == router]
    first = found[0].queries
    same = [row.earned for row in found if row.queries == first]
    mean: NDArray[np.float32] = np.array(same, dtype=np.float64).mean(axis=0, keepdims=True).astype(np.float32)[0]
    return mean


def _pooled(fleet: str, router: str, gains: Sequence[NDArray[np.float32]]) -> Line:
    dice = np.random.default_rng(0)
    draws = [[gain[dice.integers(0, len(gain), len(gain))].mean() for _ in range(RESAMPLES)] for gain in gains]
    low, high = np.percentile(np.mean(draws, axis=0), [2.5, 97.5])
    mean = float(np.mean([gain.mean() for gain in gains]))
    return Line(POOLED, fleet, router, sum(map(len, gains)), 1, None, Interval(mean, float(low), float(high)), None)
