"""Figures say what the views say, in plotly's JSON."""

import pytest

from evals.reports.figures import among, case_figures, colours
from evals.reports.views import view
from tests.support.sweeps import EXPERTS, sweep

REPORT = view(sweep())
PAID, FREE = REPORT.cases
FIGURES = case_figures(PAID, colours(REPORT))


def trace(figure, name):
    return next(one for one in FIGURES[figure]["data"] if one.get("name") == name)


def test_a_case_without_costs_has_no_frontier_and_one_without_groups_no_heat_map():
    assert list(FIGURES) == ["frontier", "gains", "group-gains", "group-rewards", "shares", "reliability"]
    assert "frontier" not in case_figures(FREE, colours(REPORT))


def test_a_router_has_the_same_colour_everywhere():
    ink = colours(REPORT)["blurred"]
    assert trace("frontier", "blurred")["line"]["color"] == trace("reliability", "blurred")["line"]["color"] == ink


def test_the_frontier_is_in_dollars_of_a_thousand_queries_with_intervals():
    points = PAID.frontier.curves["sharp"]
    found = trace("frontier", "sharp")
    assert found["x"] == pytest.approx([point.cost * 1000 for point in points], rel=1e-3)
    assert found["error_y"]["array"] == pytest.approx(
        [(p.reward.high - p.reward.mean) * 100 for p in points], abs=0.006
    )
    assert trace("frontier", "oracle")["line"]["dash"] == "dash"
    assert trace("frontier", "random")["visible"] == "legendonly"


def test_gains_leave_out_baselines_that_lie_far_away():
    assert {line.router for line in among(PAID.lines)} == {
        "sharp",
        "blurred",
        "constant",
        "noisy",
        "group_best",
        "best_constant",
    }
    found = FIGURES["gains"]["data"][0]
    assert found["y"][-1] == "group_best"
    assert found["x"][found["y"].index("sharp")] == pytest.approx(PAID.lines[2].gain.mean * 100, abs=0.006)


def test_shares_of_a_router_add_up():
    bars = FIGURES["shares"]["data"]
    assert [bar["name"] for bar in bars] == list(EXPERTS)
    row = bars[0]["y"].index("sharp")
    assert sum(bar["x"][row] for bar in bars) == pytest.approx(100, abs=0.01)


def test_names_are_no_markup_to_plotly():
    lines = tuple(line for line in PAID.lines if line.router != "sharp")
    hostile = [
        type(line)(**{f: getattr(line, f) for f in line.__slots__} | {"router": "<b>x</b>"}) for line in lines[:1]
    ]
    report = case_figures(
        type(PAID)(**{f: getattr(PAID, f) for f in PAID.__slots__} | {"lines": (*lines, *hostile)}), {}
    )
    assert "&lt;b&gt;x&lt;/b&gt;" in report["shares"]["data"][0]["y"]
