"""Numbers as words, the same in the page and in Markdown.

    for sentence in headline_texts(report.headline): ...
    gain_text(Interval(0.0210, 0.012, 0.030))           # "+2.1 points (95% interval +1.2 to +3.0)"

Not here: markup.
"""

from __future__ import annotations

from math import isinf

from evals.adversaries import SCENARIOS
from evals.reports.averages import Case, ReportLine
from evals.reports.columns import Column
from evals.reports.verdicts import Headline, Pays, Verdict
from routers.training.evaluation import Interval

PAYS: dict[Pays, str] = {
    "yes": "Routing pays",
    "cost": "Routing pays for cost",
    "unclear": "Not shown to pay",
    "no": "Routing does not pay",
}

MISSING, NEVER = "–", "never"
UNITS = {"usd": "US$ per 1,000 queries"}


def points(value: float) -> str:
    """A difference of rewards, times 100, with its sign."""
    return fixed(value * 100, 1, "+")


def fixed(value: float, digits: int | None, sign: str = "") -> str:
    """With a true minus, and none before zero. digits: after the point, None for four significant ones, or all before it."""
    if digits is None:
        return f"{value:{sign}{',.0f' if abs(value) >= 1000 else '.4g'}}".replace("-", "−")
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}".replace("-", "−")


def rounded(value: float | None, digits: int | None) -> float | None:
    """As `fixed` shows it, still a number; None for one that is not finite, which JSON can't have."""
    if value is None or isinf(value):
        return None
    return float(f"{value:.4g}") if digits is None else round(value, digits)


def gain_text(gain: Interval) -> str:
    return f"{points(gain.mean)} points (95% interval {points(gain.low)} to {points(gain.high)})"


def headline_texts(headline: Headline) -> tuple[str, ...]:
    """One or two sentences: which router, by how much, and whether routing pays."""
    if headline.router is None or headline.gain is None:
        return ("No router has been measured yet.",)
    over = "" if headline.num_data == 1 else f", averaged over {headline.num_data} data sets"
    of = "" if headline.num_routers == 1 else f" of {headline.num_routers} routers"
    first = f"{headline.router} does best{of}: {gain_text(headline.gain)} over the best single expert{over}."
    return first, _pays_text(headline)


def verdict_text(verdict: Verdict) -> str:
    """For one case: whether it pays, by which router, and what the same reward costs."""
    best, priced = verdict.best, verdict.priced
    text = f"{PAYS[verdict.pays]}: by reward alone, {best.router} is at {gain_text(best.gain)}."
    if priced is not None:
        text += f" With λ at {priced.lambda_:g}, {priced.router} is at {gain_text(priced.gain)} of reward less cost."
    if verdict.cost_share is not None and verdict.cost_share < 1:
        text += f" {best.router} has the best single expert's reward for {verdict.cost_share:.0%} of the cost."
    return text


def attack_text(case: Case) -> str:
    """What a case is under, "" for none."""
    if not case.scenario:
        return ""
    known = SCENARIOS.get(case.scenario)
    return f"Under attack{f': {known.what}' if known else ''}. Left out of the summary, of rankings and of means over data sets."


def share_shown(share: float | None) -> str:
    """Of a cost, as a percentage; infinite where it is never enough."""
    if share is None:
        return MISSING
    return NEVER if isinf(share) else f"{share:.0%}"


def cost_shown(cost: float, unit: str) -> tuple[float, str]:
    """The cost as it is shown, and in what: dollars of 1,000 queries, another unit of one query."""
    return (cost * 1000, UNITS[unit]) if unit in UNITS else (cost, f"{unit} per query")


def scaled(column: Column, line: ReportLine) -> float | None:
    """The value as it is shown: times 100, or as `cost_shown`; None where the metric does not apply."""
    value = line.values[column.name]
    if value is None or column.name != "cost":
        return None if value is None else value * column.scale
    return cost_shown(value, line.cost_unit)[0]


def shown(column: Column, line: ReportLine) -> str:
    """That as text, a dash for none, and never for what is infinite."""
    value = scaled(column, line)
    if value is None:
        return MISSING
    return NEVER if isinf(value) else fixed(value, column.digits)


def _pays_text(headline: Headline) -> str:
    verdicts = headline.verdicts
    several = len({verdict.case.fleet for verdict in verdicts}) > 1
    of = f"{len(verdicts)} {'pairs of data set and fleet' if several else 'data sets'}"
    paying, cheaper = (sum(verdict.pays == pays for verdict in verdicts) for pays in ("yes", "cost"))
    if len(verdicts) == 1:
        text = {"yes": "Routing pays here", "cost": "Routing pays here once cost counts"}.get(verdicts[0].pays)
        return f"{text or 'Routing is not shown to pay here: one expert for every query does as well'}."
    if not paying + cheaper:
        return f"Routing is not shown to pay on any of {of}: one expert for every query does as well."
    alone = (
        f"Routing pays on {paying} of {of}"
        if paying
        else f"By reward alone, routing is not shown to pay on any of {of}"
    )
    if not cheaper:
        return f"{alone}."
    return f"{alone}; on {cheaper}{' more' if paying else ''} it pays once cost counts."
