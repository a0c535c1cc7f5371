"""Routers against data sets as one Markdown table, for a README.

    sweep_table(sweep.rows)

A cell is the mean reward times 100; of data sets about costs, AIQ and the share of the best single expert's cost at which its
reward is reached; of those with a weak and a strong expert, APGR. One more column pools the gains over the data sets that are about
rewards. The rest of a sweep is in its report (`evals/reports/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from evals.markdown import markdown_table
from evals.protocols import protocol_metric
from evals.sweeps.baselines import BASELINES, ORACLE
from evals.sweeps.nouns import Row
from evals.sweeps.summary import POOLED, SummaryLine, mean_over_seeds, summary

ABOUT_REWARD = ("reward", "reward by group")


def sweep_table(rows: Sequence[Row]) -> str:
    """A table for each fleet, under its name where there are several. What was measured under attack is left out."""
    rows = [row for row in rows if not row.scenario]
    fleets = list(dict.fromkeys(row.fleet for row in rows))
    tables = [_table([row for row in rows if row.fleet == fleet]) for fleet in fleets]
    if len(tables) == 1:
        return f"{tables[0]}\n"
    return "\n".join(f"**{fleet}**\n\n{table}\n" for fleet, table in zip(fleets, tables, strict=True))


def _table(rows: Sequence[Row]) -> str:
    """Routers by falling pooled gain, or by gain on the only data set, between the baselines and the oracle."""
    data = list(dict.fromkeys(row.data for row in rows))
    about_reward = [name for name in data if protocol_metric(name) in ABOUT_REWARD]
    lines = {(line.router, line.setting.data): line for line in summary(rows, about_reward or data)}
    columns = [*about_reward, *([POOLED] if len(about_reward) > 1 else []), *(d for d in data if d not in about_reward)]
    ranking = POOLED if len(about_reward) > 1 else columns[0]
    return markdown_table(
        ["", *map(_title, columns)],
        [
            [
                router.replace("_", " ") if router in BASELINES else f"`{router}`",
                *(
                    _cell(lines.get((router, name)), [r for r in rows if (r.router, r.data) == (router, name)])
                    for name in columns
                ),
            ]
            for router in _ordered(rows, lines, ranking)
        ],
    )


def _title(name: str) -> str:
    if name == POOLED:
        return "gain over best single, pooled"
    return {"cost": f"{name}: AIQ, cost to match", "weak and strong": f"{name}: APGR"}.get(protocol_metric(name), name)


def _ordered(rows: Sequence[Row], lines: Mapping[tuple[str, str], SummaryLine], by: str) -> Iterator[str]:
    routers = list(dict.fromkeys(row.router for row in rows))
    yield from (name for name in BASELINES if name in routers and name != ORACLE)
    learned = [name for name in routers if name not in BASELINES]
    gains = {name: lines[name, by].gain.mean if (name, by) in lines else -1.0 for name in learned}
    yield from sorted(learned, key=lambda name: -gains[name])
    yield from (name for name in (ORACLE,) if name in routers)


def _cell(line: SummaryLine | None, rows: Sequence[Row]) -> str:
    if line is None:
        return ""
    if line.setting.data == POOLED:
        gain = line.gain
        return "" if not gain.mean else f"{100 * gain.mean:+.2f} ({100 * gain.low:.2f} to {100 * gain.high:.2f})"
    metric = protocol_metric(line.setting.data)
    first = [row for row in rows if row.lambda_ == 0.0]
    if metric == "cost":
        aiq, matched = (mean_over_seeds([getattr(row, name) for row in first]) for name in ("aiq", "cost_to_match"))
        share = "" if matched is None else ", never" if np.isinf(matched) else f", {matched:.0%}"
        return "" if aiq is None else f"{100 * aiq:.1f}{share}"
    if metric == "weak and strong":
        apgr = mean_over_seeds([row.apgr for row in first])
        return "" if apgr is None else f"{apgr:.3f}"
    return "" if line.reward is None else f"{100 * line.reward:.1f}"
