"""Every sampler by name: `make_sampler("best_arm", problem)`, `make_sampler("uniform", problem, "ranking")`."""

from __future__ import annotations

from collections.abc import Callable

from evals.active.base import Goal, Problem, Sampler
from evals.active.racing import Racing
from evals.active.ranking import ActiveRanking

SAMPLERS: dict[str, tuple[tuple[Goal, ...], Callable[[Problem, Goal], Sampler]]] = {
    "uniform": (("best", "ranking", "best-by-group"), lambda problem, goal: Racing(problem, goal, all_along=True)),
    "best_arm": (("best",), Racing),
    "best_arm_by_group": (("best-by-group",), Racing),
    "mean_ranking": (("ranking",), Racing),
    "active_ranking": (("ranking",), lambda problem, _: ActiveRanking(problem)),
}
"""The goals that a sampler serves, and how it is made."""


def make_sampler(name: str, problem: Problem, goal: Goal | None = None) -> Sampler:
    """goal: by default the sampler's own (the first). Raises ValueError, with those that there are, for an unknown name or goal."""
    if name not in SAMPLERS:
        raise ValueError(f"unknown sampler '{name}', expected one of {', '.join(SAMPLERS)}")
    goals, make = SAMPLERS[name]
    if goal is not None and goal not in goals:
        raise ValueError(f"sampler '{name}' has no goal '{goal}', expected one of {', '.join(goals)}")
    return make(problem, goal or goals[0])
