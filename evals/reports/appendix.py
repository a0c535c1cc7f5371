"""What a sweep says of the fleet and of attacks, as Markdown: `advice.md`, next to the report.

    appendix(sweep)                              # "" when there is nothing to say

Advice is that of the router with the highest gain in each case, under the first seed and by reward alone. Not here: how it is found
(`evals/advice/`, `evals/adversaries.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from evals.adversaries import HeldUp, held_up
from evals.advice.advising import advise
from evals.advice.text import advice_text
from evals.markdown import markdown_table
from evals.sweeps.baselines import BASELINES
from evals.sweeps.nouns import Setting, Sweep
from evals.sweeps.summary import POOLED, summary


def appendix(sweep: Sweep) -> str:
    """Sections of advice for each case, then one of what attacks did."""
    return "\n".join([*_advice(sweep), *_attacks(sweep)])


def _advice(sweep: Sweep) -> Iterator[str]:
    plain = [line for line in summary(sweep.rows) if line.setting.data != POOLED and not line.setting.scenario]
    learned = [line for line in plain if line.router not in BASELINES]
    for case in dict.fromkeys(line.setting for line in learned):
        best = max((line for line in learned if line.setting == case), key=lambda line: line.gain.mean).router
        setting = min(one for one, router in sweep.runs if router == best and replace(one, seed=case.seed) == case)
        told = _advised(sweep, setting, best)
        yield f"## Fleet advice: {case.title}, by what `{best}` chooses\n\n```text\n{told}\n```\n"


def _advised(sweep: Sweep, setting: Setting, router: str) -> str:
    try:
        advice = advise(sweep.tested[setting], sweep.runs[setting, router])
    except ValueError as exc:
        return f"None: {exc}."
    return "\n".join(advice_text(advice))


def _attacks(sweep: Sweep) -> Iterator[str]:
    if found := held_up(sweep.rows):
        yield "## Under attack\n\nChange in gain over the best single expert of before, in points of reward.\n"
        yield markdown_table(["data", "attack", "router", "change", "95%"], map(_cells, found)) + "\n"


def _cells(found: HeldUp) -> tuple[str, ...]:
    change, data = found.change, Setting(found.data, found.fleet).title
    ends = f"{100 * change.low:+.1f} to {100 * change.high:+.1f}"
    return data, found.scenario, found.router, f"{100 * change.mean:+.1f}", ends
