"""Routers against data sets as one Markdown table, for a README.

    markdown_table(sweep.rows)

A cell is the mean reward times 100; of data sets about costs, AIQ and the share of the best single expert's cost at which its
reward is reached; of those with a weak and a strong expert, APGR. One more column pools the gains over the data sets that are about
rewards. The rest of a sweep is in its report (`evals/reports/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from evals.protocols import protocol_metric
from evals.sweeps.baselines import BASELINES
from evals.sweeps.nouns import WHOLE, Row
from evals.sweeps.summary import POOLED, Line, summary

ABOUT_REWARD = ("reward", "reward by group")


def markdown_table(rows: Sequence[Row], fleet: str = WHOLE) -> str:
    """Of one fleet; routers by falling pooled gain, or by gain on the only data set, between the baselines and the oracle."""
    rows = [row for row in rows if row.fleet == fleet]
    data = list(dict.fromkeys(row.data for row in rows))
    about_reward = [name for name in data if protocol_metric(name) in ABOUT_REWARD]
    lines = {(line.router, line.data): line for line in summary(rows, about_reward)}
    columns = [*about_reward, *([POOLED] if len(about_reward) > 1 else []), *(d for d in data if d not in about_reward)]
    table = [["", *map(_title, columns)], ["---"] * (len(columns) + 1)]
    for router in _ordered(rows, lines, columns[0] if len(about_reward) == 1 else POOLED):
        cells = [
            _cell(lines.get((router, name)), [r for r in rows if (r.router, r.data) == (router, name)])
            for name in columns
        ]
        table.append([router.replace("_", " ") if router in BASELINES else f"`{router}`", *cells])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in table)


def _title(name: str) -> str:
    if name == POOLED:
        return "gain over best single, pooled"
    return {"cost": f"{name}: AIQ, cost to match", "weak and strong": f"{name}: APGR"}.get(protocol_metric(name), name)


def _ordered(rows: Sequence[Row], lines: dict[tuple[str, str], Line], by: str) -> Iterator[str]:
    routers = list(dict.fromkeys(row.router for row in rows))
    yield from (name for name in BASELINES if name in routers and name != "oracle")
    learned = [name for name in routers if name not in BASELINES]
    gains = {name: lines[name, by].gain.mean if (name, by) in lines else 0.0 for name in learned}
    yield from sorted(learned, key=lambda name: -gains[name])
    yield from (name for name in ("oracle",) if name in routers)


def _cell(line: Line | None, rows: Sequence[Row]) -> str:
    if line is None:
        return ""
    if line.data == POOLED:
        gain = line.gain
        return "" if not gain.mean else f"{100 * gain.mean:+.2f} ({100 * gain.low:.2f} to {100 * gain.high:.2f})"
    metric = protocol_metric(line.data)
    if metric == "cost":
        matched = _mean([row.cost_to_match for row in rows])
        aiq = _mean([row.aiq for row in rows])
        return "" if aiq is None else f"{100 * aiq:.1f}, {'never' if matched is None else f'{matched:.0%}'}"
    if metric == "weak and strong":
        apgr = _mean([row.apgr for row in rows])
        return "" if apgr is None else f"{apgr:.3f}"
    return "" if line.reward is None else f"{100 * line.reward:.1f}"


def _mean(values: Sequence[float | None]) -> float | None:
    """Over seeds; None where one has none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None
