"""Queries on which a router gained most over the best single expert, and on which it lost most.

    found = extremes(tested, run)
    found.best[0].query, found.best[0].chosen, found.best[0].reward

Gains are often 0 or 1: of equal ones, those come first that the router was surest of. Not here: what the queries have in common.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evals.sweeps.nouns import Run, Tested
from routers.training.evaluation import choose, earned

SHOWN = 3
LONGEST = 360
"""Characters of a query that are shown."""


@dataclass(frozen=True, slots=True)
class Example:
    """single: the best single expert, and what it earned."""

    query: str
    group: str | None
    chosen: str
    reward: float
    single: str
    single_reward: float


@dataclass(frozen=True, slots=True)
class Extremes:
    best: tuple[Example, ...]
    worst: tuple[Example, ...]


def extremes(tested: Tested, run: Run, count: int = SHOWN) -> Extremes:
    """At lambda 0; only gains above 0, and losses below."""
    table, chosen, single = tested.table, choose(run.predicted), tested.best_single()
    gains = earned(table, chosen) - earned(table, single)
    rows = np.arange(len(table))
    sure = run.predicted[rows, chosen] - run.predicted[rows, single]
    order = np.lexsort((-sure, -np.nan_to_num(gains)))
    best = [i for i in order[:count] if gains[i] > 0]
    order = np.lexsort((-sure, np.nan_to_num(gains)))
    worst = [i for i in order[:count] if gains[i] < 0]

    def example(i: int) -> Example:
        names, rewards = table.experts, table.rewards[i]
        picked, usual = int(chosen[i]), int(single[i])
        text = shortened(table.queries[i])
        return Example(
            text, table.groups[i], names[picked], float(rewards[picked]), names[usual], float(rewards[usual])
        )

    return Extremes(tuple(example(i) for i in best), tuple(example(i) for i in worst))


def shortened(text: str, longest: int = LONGEST) -> str:
    """Its beginning and its end, where what is asked often stands."""
    text = " ".join(text.split())
    half = (longest - 3) // 2
    return text if len(text) <= longest else f"{text[:half].rstrip()} … {text[-half:].lstrip()}"
