"""Rows of a sweep as lines: a router in a case (a setting without its seed) at one lambda, the mean over its seeds.

    lines = averaged(sweep, summary(sweep.rows))
    lines[0].case.title, lines[0].router, lines[0].gain.mean, lines[0].values["ece"]
    ranked(lines)                                     # names of routers, the one with the highest mean gain first

The seeds of a case hold out the same queries: at lambda 0 a query's rewards are averaged first (`evals/sweeps/summary.py`), at
others the ends of intervals are averaged like the means, so that more seeds never make up for few queries. Cases under attack come
last, and count in no ranking. Not here: what is done with lines (`views.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan
from statistics import fmean
from typing import Literal

from evals.metrics.significance import holm
from evals.reports.columns import COLUMNS
from evals.sweeps.baselines import ORACLE
from evals.sweeps.nouns import Row, Setting, Sweep, Tested
from evals.sweeps.summary import SummaryLine, mean_over_seeds
from routers.data.table import RewardTable
from routers.training.evaluation import Interval, completed

GROUP_BEST = "group_best"

Kind = Literal["router", "baseline", "bound"]


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """A setting without its seed: one data set with one fleet, and the attack that it is under, "" for none."""

    data: str
    fleet: str
    scenario: str = ""

    @property
    def title(self) -> str:
        return Setting(self.data, self.fleet, scenario=self.scenario).title

    @property
    def label(self) -> str:
        """The title without the fleet."""
        return Setting(self.data, scenario=self.scenario).title

    @property
    def slug(self) -> str:
        """For names of files; two cases may have the same."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLine:
    """values: the metrics of `COLUMNS` by name, None where one does not apply. share: of queries, by expert that got any."""

    case: Case
    router: str
    kind: Kind
    lambda_: float
    num_seeds: int
    n: int
    cost_unit: str
    reward: Interval
    gain: Interval
    values: Mapping[str, float | None]
    share: Mapping[str, float] = field(default_factory=dict)


def averaged(sweep: Sweep, pooled: Sequence[SummaryLine]) -> tuple[ReportLine, ...]:
    """One line for each case, router and lambda, in the order of the rows, attacks last. A baseline is what has rows and no run.

    pooled: the sweep's `evals.sweeps.summary.summary`, which has the gains and p-values at lambda 0.
    """
    routers = {router for _, router in sweep.runs}
    together: dict[tuple[Case, str, float], list[Row]] = {}
    for row in sorted(sweep.rows, key=lambda row: row.scenario != ""):
        together.setdefault((_case(row), row.router, row.lambda_), []).append(row)
    lines = tuple(_line(rows, routers) for rows in together.values())
    return tuple(_by_query(line, pooled, routers) if line.lambda_ == 0 else line for line in lines)


def cases(lines: Iterable[ReportLine]) -> tuple[Case, ...]:
    """In the order of the lines."""
    return tuple(dict.fromkeys(line.case for line in lines))


def by_reward_alone(lines: Sequence[ReportLine]) -> tuple[ReportLine, ...]:
    """Those at the lowest lambda, which is 0."""
    lowest = min((line.lambda_ for line in lines), default=0.0)
    return tuple(line for line in lines if line.lambda_ == lowest)


def ranked(lines: Sequence[ReportLine]) -> tuple[str, ...]:
    """Routers, baselines left out: those that ran in most cases first, of these the one with the highest mean gain first.

    Cases under attack don't count.
    """
    gains: dict[str, list[float]] = {}
    for line in by_reward_alone(lines):
        if line.kind == "router" and not line.case.scenario:
            gains.setdefault(line.router, []).append(line.gain.mean)
    return tuple(sorted(gains, key=lambda router: (-len(gains[router]), -fmean(gains[router]))))


def tested(sweep: Sweep, case: Case) -> tuple[Tested, ...]:
    """What was measured in a case, by rising seed."""
    found = [one for key, one in sweep.tested.items() if _case(key) == case]
    return tuple(sorted(found, key=lambda one: one.setting))


def complete(one: Tested) -> RewardTable:
    """Its table as rows are measured on: with a reward in every cell (`routers.training.evaluation.completed`)."""
    return completed(one.table, one.trained_rewards[one.fold])


def _case(of: Row | Setting) -> Case:
    return Case(of.data, of.fleet, of.scenario)


def _line(rows: Sequence[Row], routers: set[str]) -> ReportLine:
    first = rows[0]
    kind: Kind = "router" if first.router in routers else "bound" if first.router == ORACLE else "baseline"
    experts = sorted({name for row in rows for name in row.share})
    return ReportLine(
        case=_case(first),
        router=first.router,
        kind=kind,
        lambda_=first.lambda_,
        num_seeds=len(rows),
        n=first.n,
        cost_unit=first.cost_unit,
        reward=_interval([(row.reward, *row.ci95) for row in rows]),
        gain=_interval([(row.gain, *row.gain_ci95) for row in rows]),
        values={column.name: _mean([getattr(row, column.name) for row in rows]) for column in COLUMNS}
        | {"p_adjusted": _together([row.p_adjusted for row in rows])},
        share={name: fmean(row.share.get(name, 0.0) for row in rows) for name in experts},
    )


def _by_query(line: ReportLine, pooled: Sequence[SummaryLine], routers: set[str]) -> ReportLine:
    """With its gain as the summary has it, and the p-value by Holm over the routers of the case."""
    here = [one for one in pooled if _case(one.setting) == line.case]
    own = next((one for one in here if one.router == line.router), None)
    if own is None:
        return line
    values = {**line.values, "gain": own.gain.mean, "p_adjusted": None}
    if line.router in routers:
        tried = [one for one in here if one.router in routers]
        chances = holm([1.0 if one.p_value is None else one.p_value for one in tried])
        values["p_adjusted"] = float(chances[tried.index(own)])
    return replace(line, gain=own.gain, values=values)


def _interval(ends: Sequence[tuple[float, float, float]]) -> Interval:
    return Interval(*(fmean(values) for values in zip(*ends, strict=True)))


def _mean(values: Sequence[float | None]) -> float | None:
    """None where a seed has none, or what is no number because no query counts."""
    return mean_over_seeds([None if value is None or isnan(value) else value for value in values])


def _together(p_values: Sequence[float | None]) -> float | None:
    """The p-value of all seeds: twice the mean, which is one however they depend on each other (Rüschendorf 1982; Vovk and Wang
    2020, doi:10.1093/biomet/asaa027). The plain mean is none. Of values adjusted for several routers, it is adjusted as well."""
    mean = _mean(p_values)
    return mean if mean is None or len(p_values) == 1 else min(1.0, 2.0 * mean)
