"""Figures of a case as plotly's JSON: traces and layout, colours as names of CSS variables that the page resolves.

    figures = case_figures(report.cases[0], colours(report))
    figures["gains"]["data"], figures["gains"]["layout"]

Rewards and gains are times 100. The page adds fonts, margins and colours of the scheme (`assets/figures.js`). Not here: the same
as images (`images.py`), the what-if figure (`assets/whatif.js`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evals.reports.averages import GROUP_BEST, ReportLine
from evals.reports.frontiers import Frontier, Point, Reliability
from evals.reports.groups import Grouped
from evals.reports.texts import cost_shown, rounded
from evals.reports.views import MOST, CaseView, Report
from evals.sweeps.baselines import BEST_SINGLE, ORACLE
from routers.training.evaluation import Interval

Figure = dict[str, Any]

PALETTE = tuple(f"var(--c{i})" for i in range(12))
QUIET = "var(--quiet)"
BOUND = "var(--bound)"

SHORT, MANY = 8, 12
"""Names of columns stand slanted when they are longer or more than this."""
_SHOWN_BASELINES = (BEST_SINGLE, GROUP_BEST, ORACLE)
TICKS = [digit * 10.0**power for power in range(-6, 7) for digit in (1, 2, 5)]


def colours(report: Report) -> dict[str, str]:
    """The best routers by name, each its colour in all figures; whatever has none is drawn quietly."""
    return {view.router: colour for view, colour in zip(report.routers[:MOST], PALETTE, strict=False)}


def case_figures(view: CaseView, colour: Mapping[str, str]) -> dict[str, Figure]:
    """By name; `frontier` only where costs are known, `group-gains` and `group-rewards` only where there are groups."""
    figures = {"gains": gains(view.lines)}
    if view.frontier:
        figures = {"frontier": frontier(view.frontier, view.routers, colour)} | figures
    if view.gains and view.rewards:
        figures["group-gains"] = _heat_map(view.gains, "var(--loss-tint)", "var(--gain-tint)", 0.0)
        figures["group-rewards"] = _heat_map(view.rewards, "var(--paper)", "var(--c0-tint)", None)
    return figures | {"shares": shares(view.lines, view.measured.experts), "reliability": reliability(view, colour)}


def frontier(view: Frontier, routers: Sequence[str], colour: Mapping[str, str]) -> Figure:
    """Reward over cost: a curve for each router and baseline, its points those of lambda, and a point for each expert."""
    unit = cost_shown(0.0, view.cost_unit)[1]
    order = [name for name in routers if name in view.curves] + [name for name in view.curves if name not in routers]
    traces = [_experts(view)] + [_curve(name, view, name in routers, routers[:MOST], colour) for name in order]
    axis: Figure = {"title": {"text": f"Cost, {unit}"}, "rangemode": "tozero"}
    if view.is_wide:
        axis |= {"type": "log", "tickvals": TICKS, "ticktext": [f"{tick:g}" for tick in TICKS]}
    layout = {"height": 520, "xaxis": axis, "yaxis": {"title": {"text": "Reward × 100"}}} | _legend(traces)
    return {"data": traces, "layout": layout}


def gains(lines: Sequence[ReportLine]) -> Figure:
    """A forest plot: the gain of each router over the best single expert, and of the baselines that lie among them."""
    shown = among(lines)[::-1]
    colour = [("var(--gain)" if line.gain.low > 0 else QUIET) if line.kind == "router" else BOUND for line in shown]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [_round(line.gain.mean) for line in shown],
        "y": [_plain(line.router) for line in shown],
        "error_x": _error([line.gain for line in shown]) | {"color": QUIET},
        "marker": {
            "color": colour,
            "size": 9,
            "symbol": ["circle" if line.kind == "router" else "diamond-open" for line in shown],
        },
        "customdata": [[_round(line.gain.low), _round(line.gain.high), _round(line.reward.mean)] for line in shown],
        "hovertemplate": "<b>%{y}</b><br>%{x:+.2f} points (%{customdata[0]:+.2f} to %{customdata[1]:+.2f})"
        "<br>reward %{customdata[2]:.1f}<extra></extra>",
    }
    layout = {
        "height": 90 + 26 * len(shown),
        "showlegend": False,
        "xaxis": {"title": {"text": "Points over the best single expert"}, "zeroline": True},
        "yaxis": {"automargin": True, "type": "category"},
    }
    return {"data": [trace], "layout": layout}


def among(lines: Sequence[ReportLine]) -> list[ReportLine]:
    """Routers, and baselines no further from 0 than they: the rest would squeeze the figure, and stands in the table."""
    routers = [line for line in lines if line.kind == "router"]
    ends = [end for line in routers for end in (line.gain.low, line.gain.high)]
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    return [
        line
        for line in lines
        if line.kind == "router"
        or line.router == GROUP_BEST
        or (line.kind == "baseline" and line.router != BEST_SINGLE and low <= line.gain.mean <= high)
    ]


def shares(lines: Sequence[ReportLine], experts: Sequence[str]) -> Figure:
    """Stacked bars: which part of the queries each expert gets from each router."""
    shown = [line for line in lines if line.share][::-1]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": expert,
            "y": [_plain(line.router) for line in shown],
            "x": [_round(line.share.get(expert, 0.0)) for line in shown],
            "marker": {
                "color": PALETTE[i % len(PALETTE)],
                "pattern": {"shape": ("", "/", ".")[i // len(PALETTE) % 3], "solidity": 0.25},
                "line": {"color": "var(--paper)", "width": 1},
            },
            "hovertemplate": f"<b>%{{y}}</b><br>{_plain(expert)}: %{{x:.1f}}%<extra></extra>",
        }
        for i, expert in enumerate(experts)
    ]
    layout = {
        "height": 90 + 26 * len(shown),
        "barmode": "stack",
        "legend": {"orientation": "h", "traceorder": "normal"},
        "xaxis": {"title": {"text": "Percentage of queries"}, "range": [0, 100]},
        "yaxis": {"automargin": True, "type": "category"},
    } | _legend(traces)
    return {"data": traces, "layout": layout}


def reliability(view: CaseView, colour: Mapping[str, str]) -> Figure:
    """Mean earned over mean expected reward in ten bins; on the diagonal, expectations can be taken at their word."""
    diagonal = {
        "type": "scatter",
        "mode": "lines",
        "x": [0, 100],
        "y": [0, 100],
        "hoverinfo": "skip",
        "showlegend": False,
        "line": {"color": BOUND, "width": 1, "dash": "dash"},
    }
    traces = [diagonal] + [_reliability(found, view.routers[:MOST], colour) for found in view.reliabilities]
    layout = {
        "height": 460,
        "xaxis": {"title": {"text": "Expected reward × 100"}, "range": [-2, 102]},
        "yaxis": {"title": {"text": "Earned reward × 100"}, "range": [-2, 102]},
    } | _legend(traces)
    return {"data": traces, "layout": layout}


def _curve(name: str, view: Frontier, is_router: bool, best: Sequence[str], colour: Mapping[str, str]) -> Figure:
    points = view.curves[name]
    dash = "solid" if is_router else "dash" if name == ORACLE else "dot"
    ink = colour.get(name, QUIET) if is_router else BOUND
    trace = _scatter(name, points, view.cost_unit) | {
        "mode": "lines+markers",
        "line": {"color": ink, "width": 2 if is_router else 1.5, "dash": dash},
        "marker": {"color": ink, "size": 6 if is_router else 8, "symbol": _symbol(name, is_router)},
        "visible": True if name in (*best, *_SHOWN_BASELINES) else "legendonly",
    }
    if is_router:
        trace["error_y"] = _error([point.reward for point in points]) | {"color": ink}
    return trace


def _experts(view: Frontier) -> Figure:
    dearest = max(point.cost for point in view.experts)
    return _scatter("single experts", view.experts, view.cost_unit) | {
        "mode": "markers+text",
        "text": [_plain(point.short) if point in view.best_experts else "" for point in view.experts],
        "textposition": ["top left" if point.cost == dearest else "bottom right" for point in view.experts],
        "textfont": {"size": 10, "color": QUIET},
        "marker": {"color": QUIET, "size": 7, "symbol": "square-open"},
    }


def _scatter(name: str, points: Sequence[Point], unit: str) -> Figure:
    return {
        "type": "scatter",
        "name": _plain(name),
        "x": [rounded(cost_shown(point.cost, unit)[0], None) for point in points],
        "y": [_round(point.reward.mean) for point in points],
        "customdata": [[_label(point), _round(point.reward.low), _round(point.reward.high)] for point in points],
        "hovertemplate": "<b>%{customdata[0]}</b><br>reward %{y:.1f} (%{customdata[1]:.1f} to %{customdata[2]:.1f})"
        "<br>cost %{x:.4~g}<extra></extra>",
    }


def _label(point: Point) -> str:
    return _plain(point.name) if point.lambda_ is None else f"{_plain(point.name)}, λ = {point.lambda_:g}"


def _symbol(name: str, is_router: bool) -> str:
    return "circle" if is_router else {BEST_SINGLE: "star", GROUP_BEST: "diamond-open"}.get(name, "x-thin-open")


def _reliability(found: Reliability, best: Sequence[str], colour: Mapping[str, str]) -> Figure:
    ink, most = colour.get(found.router, QUIET), max(found.n)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": _plain(found.router),
        "x": [_round(value) for value in found.expected],
        "y": [_round(value) for value in found.earned],
        "customdata": list(found.n),
        "line": {"color": ink, "width": 1.5},
        "marker": {"color": ink, "size": [4 + 8 * float(np.sqrt(n / most)) for n in found.n]},
        "visible": True if found.router in best else "legendonly",
        "hovertemplate": "expected %{x:.1f}, earned %{y:.1f}<br>%{customdata} answers",
    }


def _legend(traces: Sequence[Figure]) -> Figure:
    """What the page needs to know to make room below a figure: entries, and pixels for the longest."""
    names = [trace["name"] for trace in traces if "name" in trace]
    return {"legend_entries": len(names), "legend_width": 44 + 6 * max(map(len, names), default=0)}


def _heat_map(view: Grouped, low: str, high: str, middle: float | None) -> Figure:
    values = [[None if np.isnan(value) else _round(value) for value in row] for row in view.values]
    scale = [[0, low], [1, high]] if middle is None else [[0, low], [0.5, "var(--paper)"], [1, high]]
    trace = {
        "type": "heatmap",
        "x": [_plain(column) for column in view.columns],
        "y": [f"{_plain(group)} ({size})" for group, size in zip(view.groups, view.sizes, strict=True)],
        "z": values,
        "zmid": middle,
        "colorscale": scale,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "texttemplate": "%{z:.1f}" if middle is None else "%{z:+.1f}",
        "textfont": {"color": "var(--ink)"},
        "hovertemplate": "<b>%{x}</b> on %{y}<br>%{z:.2f}<extra></extra>",
    }
    longest = max(map(len, view.columns))
    slanted = longest > SHORT or len(view.columns) > MANY
    layout = {
        "height": 60 + 26 * len(view.groups) + (4 * longest if slanted else 0),
        "margin": {"b": 8},
        "minimum_width": 170 + 56 * len(view.columns),
        "xaxis": {
            "type": "category",
            "automargin": True,
            "showgrid": False,
            "side": "top",
            "tickangle": -40 if slanted else 0,
        },
        "yaxis": {"type": "category", "automargin": True, "showgrid": False, "autorange": "reversed"},
    }
    return {"data": [trace], "layout": layout}


def _error(intervals: Sequence[Interval]) -> Figure:
    return {
        "type": "data",
        "symmetric": False,
        "array": [_round(interval.high - interval.mean) for interval in intervals],
        "arrayminus": [_round(interval.mean - interval.low) for interval in intervals],
        "thickness": 1,
        "width": 0,
    }


def _round(value: float) -> float:
    """Times 100, to what can be seen."""
    return round(float(value) * 100, 2)


def _plain(text: str) -> str:
    """Plotly reads some HTML in texts: angle brackets become words it leaves alone."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
