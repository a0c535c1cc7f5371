"""A report as one HTML page that needs nothing else: template, style, scripts and plotly.js are inside it.

    html = page(view(sweep), title="Eight data sets")

Everything of the data is escaped, in HTML by the template and in scripts as JSON, and the page's own policy forbids it to load
anything. Not here: figures (`figures.py`), what the scripts do (`assets/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evals.reports.averages import ReportLine
from evals.reports.columns import COLUMNS, Column
from evals.reports.figures import PALETTE, among, case_figures, colours
from evals.reports.texts import (
    PAYS,
    attack_text,
    fixed,
    headline_texts,
    points,
    rounded,
    scaled,
    share_shown,
    shown,
    verdict_text,
)
from evals.reports.views import CaseView, Report
from evals.sweeps.baselines import ORACLE

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("figures.js", "table.js", "whatif.js", "page.js")

CAPTIONS = {
    "frontier": (
        "Reward over cost",
        "Each point of a curve is one lambda; more is given up for cheapness from right to left. Bars are 95% intervals. Squares "
        "are single experts, named where no mixture of others beats them, and stars the best one at each lambda. The dashed curve "
        "is the oracle: a bound. A name in the legend shows or hides its curve.",
    ),
    "gains": (
        "Gain over the best single expert",
        "In points, with 95% intervals, paired by query, by reward alone. Green: the interval lies above 0. Diamonds: baselines.",
    ),
    "group-gains": (
        "Where routers win",
        "Gain over the best single expert, in points, by group of queries and router; the groups are not told to routers, but for "
        "group_best, the best expert of the group in training. In brackets: queries.",
    ),
    "group-rewards": ("Where experts win", "Reward of each expert, times 100, by group of queries."),
    "shares": ("Share of experts", "Which part of the queries each expert gets from each router, by reward alone."),
    "reliability": (
        "Expected and earned reward",
        "All answers, in ten bins of what the router expected; larger points hold more answers. On the dashed line, "
        "expectations can be taken at their word.",
    ),
}


def page(report: Report, *, title: str) -> str:
    """The text of an HTML file, about 5 MB of it plotly.js."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    colour = colours(report)
    experts = {view.case: view.measured.experts for view in report.cases}
    return environment.get_template("report.html").render(
        title=title,
        headline=headline_texts(report.headline),
        verdicts=report.headline.verdicts,
        verdict_texts={verdict.case: verdict_text(verdict) for verdict in report.headline.verdicts},
        attack_text=attack_text,
        pays=PAYS,
        share_shown=share_shown,
        points=points,
        cases=report.cases,
        figures={view.case: case_figures(view, colour) for view in report.cases},
        captions={name: {"title": heading, "text": text} for name, (heading, text) in CAPTIONS.items()},
        outside={view.case: _outside(view) for view in report.cases},
        routers=report.routers,
        anchors={view.router: f"router-{i}" for i, view in enumerate(report.routers, 1)},
        case_anchors={view.case: f"case-{i}" for i, view in enumerate(report.cases, 1)},
        columns=COLUMNS,
        shown=shown,
        interval=_interval_text,
        notes=report.notes,
        shares=lambda line: _shares(line, experts[line.case]),
        results=_results(report),
        what_if=_what_if(report, colour),
        css=(ASSETS / "report.css").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
        scripts=[(ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS],
    )


def _shares(line: ReportLine, experts: Sequence[str]) -> list[dict[str, str]]:
    """Of the experts that got queries, each with the colour that it has in the figures of the data set."""
    return [
        {"expert": expert, "colour": PALETTE[i % len(PALETTE)], "percent": f"{line.share[expert] * 100:.1f}"}
        for i, expert in enumerate(experts)
        if expert in line.share
    ]


def _outside(view: CaseView) -> str:
    """Baselines that the figure of gains leaves out, in words."""
    inside = {line.router for line in among(view.lines)}
    left_out = [line for line in view.lines if line.router not in inside and line.gain.mean]
    return ", ".join(
        f"{line.router} {points(line.gain.mean)}{' (a bound)' * (line.router == ORACLE)}" for line in left_out
    )


def _interval_text(column: Column, line: ReportLine) -> str:
    low, high = _intervals(line)[column.name]
    return f"{fixed(low, column.digits)} to {fixed(high, column.digits)}"


def _intervals(line: ReportLine) -> Mapping[str, tuple[float, float]]:
    return {
        "reward": (line.reward.low * 100, line.reward.high * 100),
        "gain": (line.gain.low * 100, line.gain.high * 100),
    }


def _results(report: Report) -> Mapping[str, Any]:
    """What `assets/table.js` reads: values in the order of the columns and as they are shown, None where one does not apply."""
    rows = [
        {
            "data": line.case.label,
            "fleet": line.case.fleet,
            "router": line.router,
            "kind": line.kind,
            "lambda": line.lambda_,
            "values": [rounded(scaled(column, line), column.digits) for column in COLUMNS],
            "intervals": {name: [round(end, 2) for end in ends] for name, ends in _intervals(line).items()},
        }
        for line in report.lines
    ]
    return {"columns": [asdict(column) for column in COLUMNS], "rows": rows}


def _what_if(report: Report, colour: Mapping[str, str]) -> Mapping[str, Any]:
    """What `assets/whatif.js` reads."""
    highest = max(report.lambdas, default=0.0) or 1.0
    cases = [{"title": view.case.title} | asdict(view.embedded) for view in report.cases]
    return {"cases": cases, "colours": colour, "highest_lambda": highest}
