"""Who wins where: the gain of each router and the reward of each expert, group by group.

    gains_by_group(sweep, case, ["tagged", "group_best"]).values[0]     # of the largest group, over the best single expert
    rewards_by_group(sweep, case)                                       # of the experts

The largest groups stand alone, the others together. Not here: colours (`figures.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evals.reports.averages import GROUP_BEST, Case, complete, tested
from evals.sweeps.nouns import Sweep, Tested
from routers.base import FloatArray
from routers.training.evaluation import choose, earned

LARGEST = 20
"""Groups that stand alone."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """values: `(n_groups, n_columns)`, means over queries and then seeds, NaN for a group without queries. sizes: of a seed."""

    groups: tuple[str, ...]
    sizes: tuple[int, ...]
    columns: tuple[str, ...]
    values: NDArray[np.float64]


def gains_by_group(sweep: Sweep, case: Case, routers: Sequence[str]) -> Grouped | None:
    """Mean gain over the best single expert at lambda 0; the last column is the best expert of each group. None with one group."""

    def gains(one: Tested) -> FloatArray:
        chosen = [choose(sweep.runs[one.setting, router].predicted) for router in routers] + [one.group_best]
        table = complete(one)
        single = earned(table, one.best_single())
        return np.column_stack([earned(table, choice) - single for choice in chosen])

    return _grouped(sweep, case, (*routers, GROUP_BEST), gains)


def rewards_by_group(sweep: Sweep, case: Case) -> Grouped | None:
    """Mean reward of each expert. None with one group."""
    measured = tested(sweep, case)
    return _grouped(sweep, case, measured[0].table.experts, lambda one: complete(one).rewards) if measured else None


def _grouped(
    sweep: Sweep, case: Case, columns: Sequence[str], values: Callable[[Tested], FloatArray]
) -> Grouped | None:
    measured = tested(sweep, case)
    if not measured or len(set(measured[0].table.groups)) < 2:
        return None
    names, sizes = _names(measured[0])
    means = np.array([_means(_shown(one, names), len(names), values(one)) for one in measured])
    return Grouped(names, sizes, tuple(columns), _mean(means))


def _names(one: Tested) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Shown groups, the largest first, and how many queries each has."""
    counts = Counter(group or "no group" for group in one.table.groups)
    if len(counts) <= LARGEST:
        largest, rest = counts.most_common(), 0
    else:
        largest = counts.most_common(LARGEST - 1)
        rest = len(one.table) - sum(count for _, count in largest)
        largest.append((f"{len(counts) - LARGEST + 1} other groups", rest))
    names, sizes = zip(*largest, strict=True)
    return names, sizes


def _shown(one: Tested, names: Sequence[str]) -> NDArray[np.intp]:
    """`(n_queries,)`: the position of each query's group in `names`, the last where it isn't one of them."""
    places = {name: i for i, name in enumerate(names)}
    return np.array([places.get(group or "no group", len(names) - 1) for group in one.table.groups], dtype=np.intp)


def _means(places: NDArray[np.intp], num_groups: int, values: FloatArray) -> NDArray[np.float64]:
    """`(n_groups, n_columns)` means of the values that are known, NaN where none is."""
    return np.array([_mean(values[places == i].astype(np.float64)) for i in range(num_groups)])


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the first axis, of what is known."""
    counts = (~np.isnan(values)).sum(axis=0)
    means: NDArray[np.float64] = np.divide(
        np.nansum(values, axis=0), counts, out=np.full(values.shape[1:], np.nan), where=counts > 0
    )
    return means
