"""Advice on a fleet, from what a router said of queries that were held out: whom it can lose, and who would be worth adding.

    advice = advise(sweep.tested[setting], sweep.runs[setting, "auto"], lambda_=0.2, epsilon=0.005)
    advice.experts[0].loss                    # Interval: utility given up when this expert goes
    advice.smallest.experts                   # the smallest fleet that gave up no more than epsilon where it was chosen
    advice.smallest.loss                      # and what it gives up on queries that had no part in choosing it
    advice.groups[0].break_even(cents=0.02)   # the reward that a new expert needs there to pay

UNCURL (arXiv 2409.01483) asks which experts inside a model can go; this asks it of a fleet. Nothing is fitted again: an expert that
goes is a column that goes. In cross-validation the router has learned, for one half of the queries, from part of the other; that
apart, the half that judges a fleet knows nothing of the half that chose it. Not here: arrays (`fleets.py`), words (`text.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evals.advice.fleets import best_fleets, routed, shapley_values
from evals.sweeps.nouns import Run, Setting, Tested
from routers.base import FloatArray
from routers.data.splits import is_held_out
from routers.training.evaluation import Choice, Interval, bootstrap, choose, completed, paired

TOLERANCE = 1e-9
"""Of a loss that is compared with epsilon."""


@dataclass(frozen=True, slots=True)
class ExpertValue:
    """share: of the queries, sent to this expert. loss: utility given up when it alone goes, below 0 where that helps.

    shapley: its part in the utility of the whole fleet (`fleets.shapley_values`), which all experts' parts sum to.
    """

    expert: str
    share: float
    loss: Interval
    shapley: Interval


@dataclass(frozen=True, slots=True)
class SmallerFleet:
    """chosen_loss: utility given up against the whole fleet on the half of the queries that chose it, which flatters it.

    loss: the same on the other half.
    """

    experts: tuple[str, ...]
    chosen_loss: float
    loss: Interval


@dataclass(frozen=True, slots=True)
class GroupNeed:
    """What a new expert would meet in one group of queries.

    share: the group's share of the weight of all `n` queries. utility: what is earned there now. oracle: if every query went to the
    best expert for it, a bound and mostly luck; what lies above it no expert here earns. prize: what one that is free and always
    right there would add to the mean over all queries.
    """

    group: str
    n: int
    share: float
    utility: Interval
    oracle: float
    prize: float
    lambda_: float

    def break_even(self, cents: float = 0.0) -> float:
        """The mean reward above which an expert of this cost pays when it takes the whole group; beyond 1, none does."""
        return self.utility.mean + self.lambda_ * cents


@dataclass(frozen=True, slots=True)
class Advice:
    """experts: from the one that is missed most. fleets: the best of 1, 2, ... experts. groups: by the prize, the largest first.

    utility: `reward - lambda * cents` of the whole fleet, of the setting's `n` queries as it weighs them; of these, `num_choosing`
    chose the fleets and the others judge them. smallest: the first of `fleets` that gave up at most epsilon where it was chosen.
    """

    setting: Setting
    router: str
    lambda_: float
    epsilon: float
    n: int
    num_choosing: int
    utility: Interval
    experts: tuple[ExpertValue, ...]
    fleets: tuple[SmallerFleet, ...]
    smallest: SmallerFleet
    groups: tuple[GroupNeed, ...]

    @property
    def is_confirmed(self) -> bool | None:
        """Whether the smallest fleet gives up at most epsilon on the other half as well; None where its interval can't tell."""
        if self.smallest.loss.high <= self.epsilon:
            return True
        return False if self.smallest.loss.low > self.epsilon else None


@dataclass(frozen=True)
class _Game:
    """preferred: what the router goes by. utility: weighted, as it was. Both `(n_queries, n_experts)`."""

    preferred: FloatArray
    utility: FloatArray

    @classmethod
    def of(cls, tested: Tested, run: Run, lambda_: float) -> _Game:
        full = completed(tested.table, tested.trained_rewards[tested.fold])
        utility = tested.weights[:, None] * (full.rewards - lambda_ * _cents(tested))
        preferred = run.predicted - lambda_ * np.nan_to_num(tested.cents)
        return cls(preferred.astype(np.float32), utility.astype(np.float32))

    def rows(self, index: NDArray[np.bool_]) -> _Game:
        return _Game(self.preferred[index], self.utility[index])

    def earned(self, experts: Choice) -> FloatArray:
        """`(n_queries,)`, by the fleet of these columns."""
        earned: FloatArray = self.utility[np.arange(len(self.utility)), routed(self.preferred, experts)]
        return earned


def advise(tested: Tested, run: Run, lambda_: float = 0.0, epsilon: float = 0.005, seed: int = 0) -> Advice:
    """epsilon: utility that may be given up for a smaller fleet. seed: of the halves, and of the intervals.

    Equal texts are in one half. Raises ValueError for costs that nobody valued when lambda is above 0, and for queries too few to
    have two halves.
    """
    if lambda_ and tested.has_costs and tested.cents_per_unit is None:
        raise ValueError(f"costs are in {tested.table.cost_unit}, and lambda is per US cent: say what a unit is worth")
    chooses = np.array([is_held_out(query, 0.5, seed) for query in tested.table.queries], dtype=np.bool_)
    if chooses.all() or not chooses.any():
        raise ValueError(f"expected queries enough for two halves, got {len(chooses)}")
    game, names = _Game.of(tested, run, lambda_), tested.table.experts
    fleets = _fleets(game.rows(chooses), game.rows(~chooses), names, seed)
    return Advice(
        setting=tested.setting,
        router=run.router,
        lambda_=lambda_,
        epsilon=epsilon,
        n=len(chooses),
        num_choosing=int(chooses.sum()),
        utility=bootstrap(game.earned(np.arange(len(names))), seed=seed),
        experts=_experts(game, names, seed),
        fleets=fleets,
        smallest=next(fleet for fleet in fleets if fleet.chosen_loss <= epsilon + TOLERANCE),
        groups=_groups(tested, game, lambda_, seed),
    )


def _cents(tested: Tested) -> FloatArray:
    """`(n_queries, n_experts)`: what answers cost, or were expected to where that is not known; nothing where nothing is."""
    if tested.cents_per_unit is None:
        return np.nan_to_num(tested.cents)
    known = tested.table.costs * tested.cents_per_unit
    cents: FloatArray = np.nan_to_num(np.where(np.isnan(known), tested.cents, known))
    return cents


def _experts(game: _Game, names: Sequence[str], seed: int) -> tuple[ExpertValue, ...]:
    every = np.arange(len(names))
    whole, parts = game.earned(every), shapley_values(game.preferred, game.utility).astype(np.float32)
    shares = np.bincount(choose(game.preferred), minlength=len(names)) / len(whole)
    values = [
        ExpertValue(
            expert=name,
            share=float(shares[i]),
            # The last expert leaves nobody, who earns nothing.
            loss=paired(whole, game.earned(np.delete(every, i)) if len(names) > 1 else np.zeros_like(whole), seed=seed),
            shapley=bootstrap(parts[:, i], seed=seed),
        )
        for i, name in enumerate(names)
    ]
    return tuple(sorted(values, key=lambda value: -value.loss.mean))


def _fleets(choosing: _Game, judging: _Game, names: Sequence[str], seed: int) -> tuple[SmallerFleet, ...]:
    every = np.arange(len(names))
    known, asked = choosing.earned(every), judging.earned(every)
    return tuple(
        SmallerFleet(
            experts=tuple(names[i] for i in columns),
            chosen_loss=float((known.astype(np.float64) - choosing.earned(columns)).mean()),
            loss=paired(asked, judging.earned(columns), seed=seed),
        )
        for columns in best_fleets(choosing.preferred, choosing.utility)
    )


def _groups(tested: Tested, game: _Game, lambda_: float, seed: int) -> tuple[GroupNeed, ...]:
    groups, weights = np.array(tested.table.groups, dtype=object), tested.weights
    earned = game.earned(np.arange(game.utility.shape[1]))
    best = weights * np.nanmax(tested.table.rewards - lambda_ * _cents(tested), axis=1)
    found = []
    for name in sorted({group for group in tested.table.groups if group is not None}):
        rows = groups == name
        scale, share = float(weights[rows].mean()), float(weights[rows].sum() / weights.sum())
        utility = bootstrap(earned[rows] / scale, seed=seed)
        oracle = float(best[rows].mean()) / scale
        found.append(GroupNeed(name, int(rows.sum()), share, utility, oracle, share * (1.0 - utility.mean), lambda_))
    return tuple(sorted(found, key=lambda need: -need.prize))
