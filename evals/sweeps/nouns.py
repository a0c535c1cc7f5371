"""What a sweep is made of: settings, what is measured in each, what each router said there, and the rows that come of it.

    sweep = read_sweep(Path("out"))                      # evals/sweeps/storing.py
    sweep.tested[setting].best_single(0.0)               # (n_queries,) columns of the expert that was best in training
    sweep.runs[setting, "auto"].predicted                # (n_queries, n_experts)

A setting is one data set with one fleet and one seed; its queries are those that were held out, fold after fold. Not here:
fitting (`running.py`), metrics (`evals/metrics/`), rows (`rows.py`), files (`storing.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray
from routers.data.table import RewardTable
from routers.training.evaluation import Choice

WHOLE = "all"
"""The fleet of every expert that the data know."""
PARAPHRASE = "paraphrase"


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """data: name of a data set, or of a protocol. fleet: name of a choice of its experts. seed: of folds and routers.

    scenario: the attack that it is measured under (`evals/adversaries.py`), "" for none.
    """

    data: str
    fleet: str = WHOLE
    seed: int = 0
    scenario: str = ""

    @property
    def title(self) -> str:
        """Without the seed, for people."""
        fleet = "" if self.fleet == WHOLE else f" with {self.fleet}"
        return f"{self.data}{fleet}{f' under {self.scenario}' if self.scenario else ''}"


@dataclass(frozen=True)
class Tested:
    """What is measured in a setting.

    table: the queries held out, one fold after another, with rewards and costs as they were. fold: `(n_queries,)`.
    cents: US cents that each answer was expected to cost `(n_queries, n_experts)`, learned in training; zeros without costs.
    cents_per_unit: what the table's costs are worth, None where nobody said. weights: `(n_queries,)`, mean 1: the reward of a
    router is the mean of `weights * reward`. trained_rewards, trained_cents: what experts earned and cost on average in the
    training part of each fold `(n_folds, n_experts)`. group_best: `(n_queries,)`, the expert that was best in training in the
    query's group, which no router is told. num_leaked: queries dropped for standing in the training part as well.
    notes: what was left out.
    """

    setting: Setting
    table: RewardTable
    fold: NDArray[np.intp]
    cents: FloatArray
    cents_per_unit: float | None
    weights: FloatArray
    trained_rewards: FloatArray
    trained_cents: FloatArray
    group_best: Choice
    num_leaked: int = 0
    notes: tuple[str, ...] = ()

    def best_single(self, lambda_: float = 0.0) -> Choice:
        """`(n_queries,)`: the expert with the highest mean `reward - lambda * cents` in the training part of the query's fold."""
        best = (self.trained_rewards - lambda_ * np.nan_to_num(self.trained_cents)).argmax(axis=1)
        chosen: Choice = best[self.fold]
        return chosen

    @property
    def has_costs(self) -> bool:
        """Whether some are known of every expert, for one without would count as free, and they differ."""
        known = not np.isnan(self.trained_cents).any()
        return bool(known and np.ptp(self.trained_cents) > 0.0)


@dataclass(frozen=True)
class Run:
    """What one router expected of every query of a setting, `(n_queries, n_experts)`, 0..1, each query by the fit of its fold.

    fit_s: of one fit, encoding left out; decision_ms: of one query, encoded; both medians. flips: share of the queries whose expert
    changes at lambda 0, by kind of noise (`evals/metrics/noise.py`), and when they are put in other words (`PARAPHRASE`).
    """

    router: str
    predicted: FloatArray
    fit_s: float
    decision_ms: float
    flips: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A router in a setting at one lambda (reward given up per US cent); null where a metric does not apply.

    reward: mean, 0..1, with its 95% interval. gain: over the best single expert at this lambda, paired; p_adjusted: by Holm, over
    the routers of the setting. shuffled: what the same shares of experts earn blindly. cost: mean of a query in `cost_unit`.
    aiq, apgr, ...: of the router's whole curve, the same at every lambda. Sources are in `evals/metrics/`. earned: weighted
    reward of every query, at lambda 0 alone; queries: their fingerprint.
    """

    data: str
    fleet: str
    router: str
    lambda_: float
    seed: int
    n: int
    scenario: str = ""
    reward: float
    ci95: tuple[float, float]
    gain: float
    gain_ci95: tuple[float, float]
    p_value: float | None = None
    p_adjusted: float | None = None
    gain_at_random: float | None
    gain_at_best: float | None
    gap_at_oracle: float | None
    shuffled: float
    cost: float | None
    cost_unit: str
    cost_save: float | None = None
    aiq: float | None = None
    hypervolume: float | None = None
    cost_to_match: float | None = None
    apgr: float | None = None
    cpt50: float | None = None
    cpt80: float | None = None
    arena: float | None = None
    optimal_selection: float | None = None
    optimal_cost: float | None = None
    optimal_accuracy: float | None = None
    ece: float | None = None
    brier: float | None = None
    entropy: float
    largest_share: float
    flip_rate: float | None = None
    paraphrase_flip_rate: float | None = None
    decision_ms: float | None = None
    fit_s: float | None = None
    queries: str
    share: Mapping[str, float] = field(default_factory=dict)
    earned: tuple[float, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """A finished sweep, or as far as it got. lambdas: reward given up per US cent, rising from 0.

    notes: for its readers, those about routers that could not be fitted too.
    """

    lambdas: tuple[float, ...]
    tested: Mapping[Setting, Tested]
    runs: Mapping[tuple[Setting, str], Run]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
