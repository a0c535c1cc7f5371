"""What a sweep says of the fleet and of attacks, as Markdown: `advice.md`, next to the report.

    appendix(sweep)                              # "" when there is nothing to say

Advice is that of the router with the highest gain in each case, under the first seed and by reward alone. Not here: how it is found
(`evals/advice/`, `evals/adversaries.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from evals.adversaries import SCENARIOS, HeldUp, held_up
from evals.advice.advising import advise
from evals.advice.text import advice_text
from evals.sweeps.baselines import BASELINES
from evals.sweeps.nouns import Setting, Sweep
from evals.sweeps.summary import POOLED, summary


def appendix(sweep: Sweep) -> str:
    """Sections of advice for each case, then one of what attacks did."""
    return "\n".join([*_advice(sweep), *_attacks(sweep)])


def _advice(sweep: Sweep) -> Iterator[str]:
    lines = [line for line in summary(sweep.rows) if line.router not in BASELINES and line.data != POOLED]
    for data, fleet in dict.fromkeys((line.data, line.fleet) for line in lines):
        if _is_attacked(data):
            continue
        found = [line for line in lines if (line.data, line.fleet) == (data, fleet)]
        best = max(found, key=lambda line: line.gain.mean).router
        setting = min(
            setting
            for setting, router in sweep.runs
            if (setting.data, setting.fleet) == (data, fleet) and router == best
        )
        told = _advised(sweep, setting, best)
        yield f"## Fleet advice: {data}, by what `{best}` chooses\n\n```text\n{told}\n```\n"


def _advised(sweep: Sweep, setting: Setting, router: str) -> str:
    try:
        advice = advise(sweep.tested[setting], sweep.runs[setting, router])
    except ValueError as exc:
        return f"None: {exc}."
    return "\n".join(advice_text(advice))


def _attacks(sweep: Sweep) -> Iterator[str]:
    rows = [row for row in sweep.rows if row.lambda_ == 0.0]
    plain = [row for row in rows if not _is_attacked(row.data)]
    found = held_up(plain, [row for row in rows if _is_attacked(row.data)])
    if found:
        yield "## Under attack\n\nChange in gain over the best single expert of before, in points of reward.\n"
        yield "| data | attack | router | change | 95% |\n| --- | --- | --- | --- | --- |"
        yield from map(_line, found)


def _line(found: HeldUp) -> str:
    change = found.change
    ends = f"{100 * change.low:+.1f} to {100 * change.high:+.1f}"
    return f"| {found.data} | {found.scenario} | {found.router} | {100 * change.mean:+.1f} | {ends} |"


def _is_attacked(data: str) -> bool:
    return data.rpartition("+")[2] in SCENARIOS
