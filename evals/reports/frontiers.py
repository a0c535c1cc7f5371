"""Reward over cost as lambda rises, and how far expected rewards can be believed.

    frontier(sweep, lines, case).curves["tagged"]           # points (lambda, cost, reward with interval)
    reliability(sweep, case, "tagged")                      # mean expected and earned reward in ten bins

Not here: areas under such curves (`evals/metrics/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evals.metrics.cost_quality import frontier as hull
from evals.reports.averages import Case, ReportLine, complete, tested
from evals.sweeps.curves import known_costs
from evals.sweeps.nouns import Sweep, Tested
from routers.training.evaluation import Interval, binned, bootstrap

WIDE = 20.0
"""Costs want a log axis when the dearest is this many times the cheapest."""


@dataclass(frozen=True, slots=True)
class Point:
    """lambda_: None for an expert that gets every query."""

    name: str
    lambda_: float | None
    cost: float
    reward: Interval

    @property
    def short(self) -> str:
        """The name without the organisation before it."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Frontier:
    """curves: of routers and baselines by name, in the order of the lines. experts: each with all queries."""

    cost_unit: str
    curves: Mapping[str, tuple[Point, ...]]
    experts: tuple[Point, ...]

    @property
    def best_experts(self) -> tuple[Point, ...]:
        """Those that no mixture of two others beats."""
        costs = np.array([point.cost for point in self.experts])
        rewards = np.array([point.reward.mean for point in self.experts])
        kept = set(zip(*(side.tolist() for side in hull(costs, rewards)), strict=True))
        return tuple(point for point in self.experts if (point.cost, point.reward.mean) in kept)

    @property
    def is_wide(self) -> bool:
        """Whether costs want a log axis."""
        costs = [point.cost for points in (*self.curves.values(), self.experts) for point in points]
        return 0 < WIDE * min(costs) < max(costs)


@dataclass(frozen=True, slots=True)
class Reliability:
    """Of the bins that are not empty, by rising expected reward."""

    router: str
    expected: tuple[float, ...]
    earned: tuple[float, ...]
    n: tuple[int, ...]


def frontier(sweep: Sweep, lines: Sequence[ReportLine], case: Case) -> Frontier | None:
    """None where costs are not known."""
    measured = tested(sweep, case)
    priced = [line for line in lines if line.case == case and line.values["cost"] is not None]
    if not priced or not measured or not measured[0].has_costs:
        return None
    curves: dict[str, list[Point]] = {}
    for line in priced:
        point = Point(line.router, line.lambda_, line.values["cost"] or 0.0, line.reward)
        curves.setdefault(line.router, []).append(point)
    rising = {router: tuple(sorted(points, key=lambda point: point.cost)) for router, points in curves.items()}
    return Frontier(priced[0].cost_unit, rising, _experts(measured[0]))


def reliability(sweep: Sweep, case: Case, router: str) -> Reliability | None:
    """Over all answers of all seeds, in ten bins; None where the router said nothing."""
    found = [
        (run.predicted[one.table.tried], one.table.rewards[one.table.tried], one.table.weights[one.table.tried])
        for one in tested(sweep, case)
        if (run := sweep.runs.get((one.setting, router)))
    ]
    if not found:
        return None
    expected, earned, weights = (np.concatenate(part) for part in zip(*found, strict=True))
    means = binned(expected, earned, weights)
    return Reliability(router, tuple(means.expected.tolist()), tuple(means.earned.tolist()), tuple(means.n.tolist()))


def _experts(one: Tested) -> tuple[Point, ...]:
    rewards = one.weights[:, None] * complete(one).rewards
    costs = (one.weights[:, None] * known_costs(one)).mean(axis=0, dtype=np.float64)
    return tuple(
        Point(name, None, float(costs[i]), bootstrap(rewards[:, i])) for i, name in enumerate(one.table.experts)
    )
