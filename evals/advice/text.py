"""Advice on a fleet in words, for terminals and reports: `advice_text(advise(tested, run))`, a tuple of lines.

Rewards and utilities are 0..1, intervals are 95%. Not here: the numbers (`advising.py`).
"""

from __future__ import annotations

from evals.advice.advising import Advice, ExpertValue, GroupNeed, SmallerFleet
from routers.training.evaluation import Interval

MOST_GROUPS = 5
LARGER_FLEETS = 2
"""Sizes shown beyond the smallest fleet's."""


def advice_text(advice: Advice) -> tuple[str, ...]:
    """What the fleet can lose, what each expert is worth, and where a new one would pay; no line holds a query."""
    what = "reward" if not advice.lambda_ else f"utility at lambda {advice.lambda_:g}"
    setting = advice.setting
    return (
        f"{setting.data}, fleet {setting.fleet}, router {advice.router}: {what} {_interval(advice.utility)}",
        "",
        *_smallest(advice, what),
        "",
        f"What {what} the fleet gives up when one expert goes, and each expert's part in the whole (Shapley):",
        *(_expert(value) for value in advice.experts),
        *_needs(advice),
    )


def _smallest(advice: Advice, what: str) -> list[str]:
    fleet, whole = advice.smallest, len(advice.experts)
    verdict = {
        True: f"so it is enough, to within {advice.epsilon:g}",
        False: f"so it is not enough: more than {advice.epsilon:g} is lost",
        None: f"so {advice.n - advice.num_choosing:,} queries don't show whether it is within {advice.epsilon:g}",
    }[advice.is_confirmed]
    return [
        f"Smallest fleet, chosen on {advice.num_choosing:,} of {advice.n:,} queries: {', '.join(fleet.experts)} "
        f"({len(fleet.experts)} of {whole})",
        f"On the others it gives up {_interval(fleet.loss)} of {what}, {verdict}.",
        "Best fleets by size, and what they give up on the others:",
        *(_fleet(smaller) for smaller in advice.fleets[: len(fleet.experts) + LARGER_FLEETS]),
    ]


def _fleet(fleet: SmallerFleet) -> str:
    return f"  {len(fleet.experts)}: {_interval(fleet.loss)}  {', '.join(fleet.experts)}"


def _expert(value: ExpertValue) -> str:
    keep = "keep" if value.loss.low > 0 else "better without" if value.loss.high < 0 else "no loss shown"
    return f"  {value.expert}: {_interval(value.loss)}, {keep}; sent {value.share:.1%}, part {_interval(value.shapley)}"


def _needs(advice: Advice) -> list[str]:
    if not advice.groups:
        return []
    plus = f" + {advice.lambda_:g} per cent of its cost" if advice.lambda_ else ""
    lines = [_need(need, plus) for need in advice.groups[:MOST_GROUPS]]
    return [
        "",
        f"Where a new expert would pay, if it took the whole group (the {len(lines)} with most to win):",
        *lines,
    ]


def _need(need: GroupNeed, plus: str) -> str:
    return (
        f"  {need.group} ({need.share:.1%} of all): above {_interval(need.utility)}{plus}; "
        f"a perfect one adds {need.prize:.4f}; with the best of today's for each query {need.oracle:.4f}"
    )


def _interval(value: Interval) -> str:
    return f"{value.mean:.4f} ({value.low:.4f} to {value.high:.4f})"
