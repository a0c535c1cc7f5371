"""A log of decisions as arrays, and what simple models make of it: what experts earn, and how often they get feedback.

    log = Log.of([routed async for routed in ledger.routed("auto")])
    log.propensities                          # (n, n_experts), NaN where an expert could not have been chosen
    leave_one_out(log.actions, log.rewards, log.logged / log.feedback_rates[log.actions], len(log.experts))

Not here: what follows from it (`comparing.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from evals.offpolicy.estimators import Actions, Array
from orchestrator.ledger.base import Routed


@dataclass(frozen=True, eq=False)
class Log:
    """Decisions in rows, experts in columns. actions: `(n,)`, the column that answered. rewards: `(n,)`, NaN without feedback.

    cents: `(n,)`, US cents that the answer cost. propensities: `(n, n_experts)`, NaN where the expert could not have been chosen,
    0 where it could have been and never would.
    """

    queries: tuple[str, ...]
    experts: tuple[str, ...]
    actions: Actions
    rewards: Array
    cents: Array
    propensities: Array

    def __post_init__(self) -> None:
        """Raises ValueError for no decisions, a reward outside 0..1, and a logged expert with a propensity outside (0, 1]."""
        if not len(self):
            raise ValueError("expected at least one decision, got none")
        if not ((self.logged > 0) & (self.logged <= 1)).all():
            raise ValueError("expected every logged expert to have a propensity above 0 and up to 1")
        if not ((self.rewards >= 0) & (self.rewards <= 1) | np.isnan(self.rewards)).all():
            raise ValueError("expected rewards from 0 to 1, or NaN where there is no feedback")

    @classmethod
    def of(cls, decisions: Iterable[Routed]) -> Self:
        """Columns in the order of first appearance."""
        rows = list(decisions)
        experts = tuple(dict.fromkeys(name for row in rows for name in row.propensities))
        columns = {name: i for i, name in enumerate(experts)}
        propensities = np.full((len(rows), len(experts)), np.nan)
        for i, row in enumerate(rows):
            propensities[i, [columns[name] for name in row.propensities]] = list(row.propensities.values())
        return cls(
            tuple(row.query for row in rows),
            experts,
            np.array([columns[row.expert] for row in rows], dtype=np.intp),
            np.array([np.nan if row.reward is None else row.reward for row in rows]),
            np.array([100 * row.cost_usd for row in rows]),
            propensities,
        )

    def __len__(self) -> int:
        return len(self.actions)

    @cached_property
    def logged(self) -> Array:
        """`(n,)`: with which propensity the expert that answered was chosen."""
        found: Array = self.propensities[np.arange(len(self)), self.actions]
        return found

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """`(n, n_experts)`: who could have been chosen."""
        return ~np.isnan(self.propensities)

    @cached_property
    def scored(self) -> NDArray[np.bool_]:
        """`(n,)`: which decisions got feedback."""
        return ~np.isnan(self.rewards)

    @cached_property
    def feedback_rates(self) -> Array:
        """`(n_experts,)`: the share of each expert's answers that got feedback; 0 for one that never answered."""
        asked = np.bincount(self.actions, minlength=len(self.experts))
        scored = np.bincount(self.actions[self.scored], minlength=len(self.experts))
        return scored / np.maximum(asked, 1)


def leave_one_out(actions: Actions, values: Array, propensities: Array, num_actions: int) -> Array:
    """`(n, n_actions)`: each action's mean value, weighted by 1/propensity, over all rows but this one; NaN values are left out.

    A row's own value has no part in what is expected of it, so an estimate that is corrected by it stays unbiased: cross-fitting
    with as many folds as rows. An action without other rows is given the mean over all actions, and 0.5 if there is none.
    """
    known = ~np.isnan(values)
    weights = np.where(known, 1.0 / propensities, 0.0)
    weighted = weights * np.nan_to_num(values)
    own = np.zeros((len(actions), num_actions))
    own[np.arange(len(actions)), actions] = weights
    totals = own.sum(axis=0) - own
    own[np.arange(len(actions)), actions] = weighted
    sums = own.sum(axis=0) - own
    some = totals > 1e-9
    overall = sums.sum(axis=1) / np.maximum(totals.sum(axis=1), 1e-9)
    overall = np.where(some.any(axis=1), overall, 0.5)
    means: Array = np.where(some, sums / np.where(some, totals, 1.0), overall[:, None])
    return means
