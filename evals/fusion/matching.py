"""A baseline at given mean calls: the settings that earn most in training, two of them mixed where none makes as many calls.

    kept = best_settings(baseline.curve(train), train)
    fused = at_calls([baseline.curve(test)[i] for i in kept], test, calls=3.2)

Which queries go to which of two settings depends on the queries' hashes alone, and how many on calls alone: no test reward is
looked at. Not here: what is compared (`evals/fusion/comparison.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from routers.data.splits import query_hash
from routers.fusing.table import AnswerTable, Fused

_SALT = 0xCA11
"""Of the hashes, which are not those of the folds."""


def best_settings(curve: Sequence[Fused], table: AnswerTable) -> list[int]:
    """The settings on the upper hull of mean reward over mean calls, by rising calls: no mixture of others earns more."""
    points = [(float(fused.calls.mean()), float(fused.rewards(table).mean())) for fused in curve]
    hull: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if hull and points[i][1] <= points[hull[-1]][1]:
            continue
        while len(hull) > 1 and _slope(points[hull[-2]], points[i]) >= _slope(points[hull[-2]], points[hull[-1]]):
            hull.pop()
        hull.append(i)
    return hull


def at_calls(curve: Sequence[Fused], table: AnswerTable, calls: float) -> Fused:
    """The mixture of two neighbours in `curve` that makes `calls` calls on average, or the most of fewer.

    A curve that makes fewer calls throughout is used at its last setting, one that makes more at its first.
    """
    means = [float(fused.calls.mean()) for fused in curve]
    higher = next((i for i, mean in enumerate(means) if mean > calls), None)
    if higher is None or higher == 0:
        return curve[-1 if higher is None else 0]
    lower, upper = curve[higher - 1], curve[higher]
    order = np.argsort([query_hash(query, _SALT) for query in table.queries], kind="stable")
    totals = np.concatenate([[0], np.cumsum((upper.calls - lower.calls)[order])])
    within = np.flatnonzero(lower.calls.sum() + totals <= calls * len(table))
    is_upper = np.zeros(len(table), dtype=np.bool_)
    is_upper[order[: within[-1]]] = True
    return Fused(np.where(is_upper, upper.chosen, lower.chosen), np.where(is_upper[:, None], upper.asked, lower.asked))


def _slope(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Reward per call; of equal calls, beyond all others."""
    calls = second[0] - first[0]
    return (second[1] - first[1]) / calls if calls > 0 else np.inf
