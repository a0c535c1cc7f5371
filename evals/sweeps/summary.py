"""A sweep in short: what every router gained on each data set, the mean over seeds, and pooled over data sets.

    for line in summary(rows): line.router, line.setting.title, line.gain

The seeds of a data set hold out the same queries, so a query's rewards are averaged over seeds first, and intervals are over
queries. Pooled is the mean of the data sets' gains, each counting once, with queries drawn anew within each of them. By reward
alone, so that data sets with and without costs can stand together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from evals.metrics.significance import p_value
from evals.sweeps.baselines import BEST_SINGLE
from evals.sweeps.nouns import Row, Setting
from routers.training.evaluation import Interval, bootstrap

POOLED = "pooled"
RESAMPLES = 2_000

Gains = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SummaryLine:
    """setting: without its seed; its data are `POOLED` where data sets are pooled. num_seeds: that were averaged.

    reward: None where it is pooled. gain: over the best single expert, paired. p_value: not adjusted.
    """

    setting: Setting
    router: str
    n: int
    num_seeds: int
    reward: float | None
    gain: Interval
    p_value: float | None


def summary(rows: Sequence[Row], pooled: Sequence[str] = ()) -> list[SummaryLine]:
    """pooled: the data sets to pool, by default all of them; never those under attack, nor for a router that lacks one."""
    lines, gains = [], dict[tuple[str, str], dict[str, Gains]]()
    for setting, found in settings_of(rows):
        single = _by_seed(found, BEST_SINGLE)
        for router in dict.fromkeys(row.router for row in found):
            pairs = _paired(_by_seed(found, router), single)
            if not pairs:
                continue
            difference = _mean([row.earned for row, _ in pairs]) - _mean([best.earned for _, best in pairs])
            chance = p_value(difference) if difference.any() else None
            reward = float(_mean([row.earned for row, _ in pairs]).mean())
            lines.append(
                SummaryLine(setting, router, len(difference), len(pairs), reward, bootstrap(difference), chance)
            )
            if not setting.scenario and (not pooled or setting.data in pooled):
                gains.setdefault((setting.fleet, router), {})[setting.data] = difference
    return [*lines, *_pooled(gains)]


def settings_of(rows: Sequence[Row]) -> Iterator[tuple[Setting, list[Row]]]:
    """By setting without its seed, the rows of reward alone."""
    told = sorted((row for row in rows if row.earned), key=_setting)
    for setting, found in groupby(told, key=_setting):
        yield setting, list(found)


def mean_over_seeds(values: Sequence[float | None]) -> float | None:
    """None where a seed has none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _setting(row: Row) -> Setting:
    return Setting(row.data, row.fleet, 0, row.scenario)


def _by_seed(rows: Sequence[Row], router: str) -> dict[int, Row]:
    return {row.seed: row for row in rows if row.router == router}


def _paired(rows: Mapping[int, Row], single: Mapping[int, Row]) -> list[tuple[Row, Row]]:
    """Of the seeds that both have: those that tested the same queries as the first of them."""
    found = [(row, single[seed]) for seed, row in sorted(rows.items()) if seed in single]
    return [pair for pair in found if {row.queries for row in pair} == {found[0][1].queries}]


def _mean(earned: Sequence[Sequence[float]]) -> Gains:
    """Over seeds, by query."""
    mean: Gains = np.array(earned, dtype=np.float64).mean(axis=0, keepdims=True).astype(np.float32)[0]
    return mean


def _pooled(gains: Mapping[tuple[str, str], Mapping[str, Gains]]) -> Iterator[SummaryLine]:
    """Of every router that has all of its fleet's data sets, if there are several."""
    for (fleet, router), found in gains.items():
        wanted = {data for (other, _), by_data in gains.items() if other == fleet for data in by_data}
        if len(wanted) > 1 and found.keys() == wanted:
            yield _pool(Setting(POOLED, fleet), router, list(found.values()))


def _pool(setting: Setting, router: str, gains: Sequence[Gains]) -> SummaryLine:
    dice = np.random.default_rng(0)
    draws = [[gain[dice.integers(0, len(gain), len(gain))].mean() for _ in range(RESAMPLES)] for gain in gains]
    low, high = np.percentile(np.mean(draws, axis=0), [2.5, 97.5])
    mean = float(np.mean([gain.mean() for gain in gains]))
    return SummaryLine(setting, router, sum(map(len, gains)), 1, None, Interval(mean, float(low), float(high)), None)
