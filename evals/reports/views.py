"""All that a report shows of a sweep, as plain data: no colours, no HTML, no files.

    report = view(read_sweep(Path("out")))
    report.headline.router, report.cases[0].frontier, report.routers[0].examples

What each part is: `averages.py` (lines), `verdicts.py`, `frontiers.py`, `groups.py`, `extremes.py`, `embedding.py`. Not here: how
it looks (`figures.py`, `page.py`, `markdown.py`, `images.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.reports.averages import Case, ReportLine, averaged, by_reward_alone, cases, ranked, tested
from evals.reports.embedding import Embedded, embed
from evals.reports.extremes import Extremes, extremes
from evals.reports.frontiers import Frontier, Reliability, frontier, reliability
from evals.reports.groups import Grouped, gains_by_group, rewards_by_group
from evals.reports.verdicts import Headline, summed_up
from evals.sweeps.nouns import Sweep, Tested
from evals.sweeps.summary import summary

MOST = 6
"""Routers that stand out in figures, and whose expectations travel inside the page."""


@dataclass(frozen=True, slots=True)
class Measured:
    """How a case was measured. num_leaked: the mean over seeds."""

    n: int
    num_folds: int
    num_leaked: float
    seeds: tuple[int, ...]
    num_groups: int
    experts: tuple[str, ...]
    has_costs: bool
    cost_unit: str


@dataclass(frozen=True, slots=True)
class CaseView:
    """lines: at lambda 0, the highest reward first. reliabilities: of all routers, in that order."""

    case: Case
    measured: Measured
    lines: tuple[ReportLine, ...]
    frontier: Frontier | None
    gains: Grouped | None
    rewards: Grouped | None
    reliabilities: tuple[Reliability, ...]
    embedded: Embedded

    @property
    def routers(self) -> tuple[str, ...]:
        return tuple(line.router for line in self.lines if line.kind == "router")


@dataclass(frozen=True, slots=True)
class RouterView:
    """lines: at lambda 0, by case. examples: of the first seed, by case."""

    router: str
    lines: tuple[ReportLine, ...]
    examples: Mapping[Case, Extremes]


@dataclass(frozen=True, slots=True)
class Report:
    """lines: of every lambda. routers: best first (`ranked`). notes: of the sweep, what could not be run among them."""

    headline: Headline
    lines: tuple[ReportLine, ...]
    lambdas: tuple[float, ...]
    cases: tuple[CaseView, ...]
    routers: tuple[RouterView, ...]
    notes: tuple[str, ...]


def view(sweep: Sweep) -> Report:
    """Of a sweep that is finished, or of its part that is."""
    pooled = summary(sweep.rows)
    lines = averaged(sweep, pooled)
    shown = tuple(_case(sweep, lines, case) for case in cases(lines) if tested(sweep, case))
    routers = tuple(_router(sweep, lines, router) for router in ranked(lines))
    return Report(summed_up(lines, pooled), lines, sweep.lambdas, shown, routers, sweep.notes)


def _case(sweep: Sweep, lines: Sequence[ReportLine], case: Case) -> CaseView:
    here = sorted(
        (line for line in by_reward_alone(lines) if line.case == case), key=lambda line: line.reward.mean, reverse=True
    )
    measured = tested(sweep, case)
    routers = [line.router for line in here if all(_ran(sweep, one, line.router) for one in measured)]
    runs = {router: sweep.runs[measured[0].setting, router] for router in routers[:MOST]}
    return CaseView(
        case,
        _measured(measured),
        tuple(here),
        frontier(sweep, lines, case),
        gains_by_group(sweep, case, routers),
        rewards_by_group(sweep, case),
        tuple(found for router in routers if (found := reliability(sweep, case, router))),
        embed(measured[0], runs),
    )


def _measured(measured: Sequence[Tested]) -> Measured:
    table = measured[0].table
    return Measured(
        len(table),
        len(measured[0].trained_rewards),
        sum(one.num_leaked for one in measured) / len(measured),
        tuple(one.setting.seed for one in measured),
        len(set(table.groups)),
        table.experts,
        measured[0].has_costs,
        table.cost_unit,
    )


def _router(sweep: Sweep, lines: Sequence[ReportLine], router: str) -> RouterView:
    here = tuple(line for line in by_reward_alone(lines) if line.router == router)
    examples = {}
    for line in here:
        first = next(iter(tested(sweep, line.case)), None)
        if first and _ran(sweep, first, router):
            examples[line.case] = extremes(first, sweep.runs[first.setting, router])
    return RouterView(router, here, examples)


def _ran(sweep: Sweep, one: Tested, router: str) -> bool:
    return (one.setting, router) in sweep.runs
