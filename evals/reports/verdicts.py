"""Who wins, and whether routing pays: in each case, and on average over the data sets.

    pooled = summary(sweep.rows)
    headline = summed_up(averaged(sweep, pooled), pooled)
    headline.router, headline.gain                   # the router with the highest mean gain over the best single expert
    [(v.case.title, v.pays, v.best.router) for v in headline.verdicts]

Routing pays where the best router's interval lies above 0 and its p-value, adjusted for all routers that were tried, is below 0.05,
by reward alone (lambda 0). It pays for cost where that holds at a lambda above 0, of reward less cost and adjusted for all lambdas
as well, against the expert that is best at that lambda. Data under attack take no part. Not here: words
(`texts.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evals.reports.averages import Case, ReportLine, by_reward_alone, cases, ranked
from evals.sweeps.nouns import Setting
from evals.sweeps.summary import POOLED, SummaryLine
from routers.training.evaluation import Interval

Pays = Literal["yes", "cost", "unclear", "no"]

SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Verdict:
    """best: the router that earned most. priced: the largest gain that is sure at a lambda above 0, None without one."""

    case: Case
    best: ReportLine
    priced: ReportLine | None

    @property
    def pays(self) -> Pays:
        if _is_sure(self.best):
            return "yes"
        if self.priced is not None:
            return "cost"
        return "no" if self.best.gain.high <= 0 else "unclear"

    @property
    def cost_share(self) -> float | None:
        """What the same reward costs with the router, over what it costs with the best single expert; None without costs."""
        return self.best.values["cost_to_match"]


@dataclass(frozen=True, slots=True)
class Headline:
    """router: of the first fleet, the one with the highest mean gain over the data sets; None without routers."""

    router: str | None
    gain: Interval | None
    num_routers: int
    num_data: int
    verdicts: tuple[Verdict, ...]


def summed_up(lines: Sequence[ReportLine], pooled: Sequence[SummaryLine]) -> Headline:
    """lines: of a sweep; those under attack count for nothing here. pooled: its `evals.sweeps.summary.summary`."""
    lines = [line for line in lines if not line.case.scenario]
    verdicts = tuple(found for case in cases(lines) if (found := _verdict(case, lines)))
    first = [line for line in by_reward_alone(lines) if line.case.fleet == lines[0].case.fleet]
    order = ranked(first)
    if not order:
        return Headline(None, None, 0, 0, verdicts)
    best = [line for line in first if line.router == order[0]]
    wanted = (Setting(POOLED, best[0].case.fleet), order[0])
    gains = [line.gain for line in pooled if (line.setting, line.router) == wanted]
    return Headline(order[0], gains[0] if gains else best[0].gain, len(order), len(best), verdicts)


def _verdict(case: Case, lines: Sequence[ReportLine]) -> Verdict | None:
    routers = [line for line in lines if line.case == case and line.kind == "router"]
    if not routers:
        return None
    alone = by_reward_alone(routers)
    num_prices = len({line.lambda_ for line in routers}) - 1
    sure = [line for line in routers if line not in alone and _is_sure(line, num_prices)]
    return Verdict(
        case,
        max(alone, key=lambda line: line.reward.mean),
        max(sure, key=lambda line: line.gain.mean, default=None),
    )


def _is_sure(line: ReportLine, tests: int = 1) -> bool:
    """Whether it gained, of so many lambdas at which it was tested (Bonferroni)."""
    p_value = line.values["p_adjusted"]
    return line.gain.low > 0 and (p_value is None or p_value * tests < SIGNIFICANT)
