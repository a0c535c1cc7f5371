"""Figures of a report as PNG, for papers and READMEs: reward over cost where costs are known, else gains.

    paths = draw_images(view(sweep), Path("out"))         # frontier-<data>.png, gains-<data>.png

Not here: figures of the page (`figures.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evals.files import write_whole
from evals.reports.averages import GROUP_BEST
from evals.reports.figures import TICKS, among
from evals.reports.frontiers import Frontier, Point
from evals.reports.texts import cost_shown
from evals.reports.views import MOST, CaseView, Report
from evals.sweeps.baselines import BEST_SINGLE, ORACLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INKS = ("#1f6f8b", "#c2541b", "#5b7f1e", "#8a4fa3", "#a87900", "#b23a5e")
"""As the page's, light."""
GREY, GREEN = "#6b7785", "#2d7a4f"
DPI = 160


def draw_images(report: Report, folder: Path) -> tuple[Path, ...]:
    """One a case, named after it, and numbered where two have the same name. The same router has the same colour in all.

    Those that an earlier report left in the folder are deleted.
    """
    for pattern in ("frontier-*.png", "gains-*.png"):
        for stale in folder.glob(pattern):
            stale.unlink()
    inks = dict(zip((view.router for view in report.routers), INKS, strict=False))
    taken: Counter[str] = Counter()
    paths = []
    for view in report.cases:
        stem = f"{'frontier' if view.frontier else 'gains'}-{view.case.slug}"
        taken[stem] += 1
        paths.append(folder / (f"{stem}.png" if taken[stem] == 1 else f"{stem}-{taken[stem]}.png"))
        _draw(view, inks, paths[-1])
    return tuple(paths)


def _draw(view: CaseView, inks: dict[str, str], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = 4.5 if view.frontier else 1.2 + 0.26 * len(among(view.lines))
    figure = Figure(figsize=(7.2, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    if view.frontier:
        _frontier(axes, view.frontier, view.routers[:MOST], inks)
    else:
        _gains(axes, view)
    axes.set_title(_literal(view.case.title), loc="left", fontsize=11)
    write_whole(path, lambda file: figure.savefig(file, dpi=DPI, format="png"))


def _frontier(axes: Axes, view: Frontier, routers: Sequence[str], inks: dict[str, str]) -> None:
    for name in routers:
        _curve(axes, view, name, inks.get(name, GREY), "-", has_band=name == routers[0])
    for name, style in ((ORACLE, "--"), (GROUP_BEST, ":"), (BEST_SINGLE, ":")):
        if name in view.curves:
            _curve(axes, view, name, "#1d2126" if name == BEST_SINGLE else GREY, style)
    x, y = _places(view.experts, view.cost_unit)
    axes.plot(x, y, "s", color=GREY, markerfacecolor="none", markersize=5, label="single experts")
    for point in view.best_experts:
        place = cost_shown(point.cost, view.cost_unit)[0], point.reward.mean * 100
        side, up = ("right", 4) if place[0] == max(x) else ("left", -10)
        axes.annotate(
            _literal(point.short), place, (0, up), textcoords="offset points", fontsize=6, color=GREY, ha=side
        )
    if view.is_wide:
        ends = axes.get_xlim()
        axes.set_xscale("log")
        axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
        axes.minorticks_off()
        axes.set_xlim(min(x) * 0.8, ends[1])
    axes.set_xlabel(f"Cost, {cost_shown(0.0, view.cost_unit)[1]}")
    axes.set_ylabel("Reward × 100")
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _curve(axes: Axes, view: Frontier, name: str, ink: str, style: str, has_band: bool = False) -> None:
    points = view.curves[name]
    x, y = _places(points, view.cost_unit)
    axes.plot(x, y, style, color=ink, marker="o", markersize=3, linewidth=1.3, label=_literal(name))
    if has_band:
        ends = [point.reward.low * 100 for point in points], [point.reward.high * 100 for point in points]
        axes.fill_between(x, *ends, color=ink, alpha=0.08, linewidth=0)


def _places(points: Sequence[Point], unit: str) -> tuple[list[float], list[float]]:
    return [cost_shown(point.cost, unit)[0] for point in points], [point.reward.mean * 100 for point in points]


def _gains(axes: Axes, view: CaseView) -> None:
    axes.axvline(0, color=GREY, linewidth=1)
    shown = among(view.lines)[::-1]
    for place, line in enumerate(shown):
        ink = GREEN if line.kind == "router" and line.gain.low > 0 else GREY
        ends = [[(line.gain.mean - line.gain.low) * 100], [(line.gain.high - line.gain.mean) * 100]]
        marker = "o" if line.kind == "router" else "D"
        axes.errorbar([line.gain.mean * 100], [place], xerr=ends, fmt=marker, color=ink, markersize=5, linewidth=1)
    axes.set_yticks(range(len(shown)), [_literal(line.router) for line in shown], fontsize=8)
    axes.set_xlabel("Points over the best single expert")


def _literal(text: str) -> str:
    """Matplotlib reads formulas between dollars."""
    return text.replace("$", r"\$")
