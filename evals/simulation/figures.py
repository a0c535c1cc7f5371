"""Plots of simulations, and of real models, as PNG: policies beside each other, and what reward is given up for less waiting.

    save_plot([measure(name, runs) for name, runs in measured.items()], Path("policies.png"))
    save_frontier(list(bench_joint(data, encoder)), Path("joint.png"))

Not here: the numbers (`measures.py`, `evals/bench_joint.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from evals.bench_joint import Row as JointRow
from evals.files import write_whole
from evals.reports.images import DPI, GREY, INKS
from evals.simulation.measures import Row, finite
from evals.simulation.registry import OURS
from evals.simulation.replay import ROUTE_THEN_SCHEDULE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from evals.swaps.choosing import Row as ChoiceRow
    from evals.swaps.running import Row as SwapsRow

SECONDS = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
"""Where a logarithmic axis has its ticks."""


def save_plot(rows: Sequence[Row], path: Path) -> None:
    """Panels for the p99 of latency, the served rate, and the reward where there is one; ours stands out.

    A p99 that is infinite has no bar.
    """
    panels = {
        "p99 latency, s": [finite(row.latency_s.p99) or 0.0 for row in rows],
        "served, 1/s": [row.served_per_s for row in rows],
    }
    rewards = [row.reward for row in rows if row.reward is not None]
    if len(rewards) == len(rows):
        panels["reward × 100"] = [100.0 * reward for reward in rewards]
    _save_bars([row.policy for row in rows], panels, path)


def save_swaps(rows: Sequence[SwapsRow], path: Path) -> None:
    """The same of real models: the p99 of latency, which a batch has none of, the loads, and how long everything took."""
    panels = {
        "p99 latency, s": [row.latency_p99_s or 0.0 for row in rows],
        "loads": [float(row.swaps) for row in rows],
        "total, s": [row.total_s for row in rows],
    }
    _save_bars([row.policy for row in rows], panels, path)


def save_choice(rows: Sequence[ChoiceRow], path: Path) -> None:
    """The same where the expert is chosen too: the p99 of latency, the loads, and the reward."""
    panels = {
        "p99 latency, s": [row.latency_p99_s for row in rows],
        "loads": [float(row.swaps) for row in rows],
        "reward × 100": [row.reward or 0.0 for row in rows],
    }
    _save_bars([f"{row.policy}, μ {row.mu:g}" if row.policy == OURS else row.policy for row in rows], panels, path)


def _save_bars(names: Sequence[str], panels: Mapping[str, Sequence[float]], path: Path) -> None:
    figure = _figure(3.2 * len(panels) + 1.0, 1.0 + 0.28 * len(names))
    inks = [INKS[0] if name.startswith(OURS) else GREY for name in names]
    for axes, (title, values) in zip(figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True):
        _plain(axes)
        axes.barh(range(len(names)), values, color=inks)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_xlabel(title)
        if max(values) > 50 * min(values) > 0:
            axes.set_xscale("log")
            axes.set_xlim(left=min(values) / 2)
        if title.startswith("reward"):
            axes.set_xlim(min(values) - 1.0, max(values) + 0.5)
    figure.axes[0].invert_yaxis()
    _save(figure, path)


def save_frontier(rows: Sequence[JointRow], path: Path) -> None:
    """Gain in reward over p99, a panel a rate and a line a workload, along mu; routing first is the cross at a gain of 0."""
    rates = list(dict.fromkeys(row.rate for row in rows))
    styles = product(("-", "--", ":"), INKS)
    looks = dict(zip(dict.fromkeys(row.workload for row in rows), styles, strict=False))
    figure = _figure(4.6 * len(rates) + 0.6, 4.2)
    panels = figure.subplots(1, len(rates), sharey=True, squeeze=False)[0]
    for axes, rate in zip(panels, rates, strict=True):
        _plain(axes)
        axes.axhline(0.0, color=GREY, linewidth=1)
        for workload, (style, ink) in looks.items():
            _frontier(axes, [row for row in rows if (row.workload, row.rate) == (workload, rate)], style, ink)
        axes.set_xscale("log")
        ends = axes.get_xlim()
        axes.set_xticks(SECONDS, [f"{tick:g}" for tick in SECONDS])
        axes.minorticks_off()
        axes.set_xlim(ends)
        axes.set_title(f"{rate:g} requests/s", loc="left", fontsize=11)
        axes.set_xlabel("p99 latency, s")
    panels[0].set_ylabel("Reward × 100 over routing first")
    panels[-1].legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _save(figure, path)


def _frontier(axes: Axes, rows: Sequence[JointRow], style: str, ink: str) -> None:
    """Of one workload at one rate."""
    joint = [row for row in rows if row.policy == OURS]
    name = joint[0].workload if joint else None
    axes.plot(
        [row.p99_s for row in joint],
        [row.gain for row in joint],
        style,
        color=ink,
        marker="o",
        markersize=3,
        label=name,
    )
    apart = [row for row in rows if row.policy == ROUTE_THEN_SCHEDULE]
    axes.plot([row.p99_s for row in apart], [row.gain for row in apart], "X", color=ink, markersize=8)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)


def _save(figure: Figure, path: Path) -> None:
    write_whole(path, lambda file: figure.savefig(file, dpi=DPI, format="png"))
