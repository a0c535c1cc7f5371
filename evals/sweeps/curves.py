"""A router's whole curve of cost and quality, from all the same reward to all the same cost, and what the field reads off it.

    curve = cost_curve(tested, predicted, rewards)
    curve.aiq, curve.cost_to_match
    call_curve(tested, predicted).apgr                   # of two experts, a weak and a strong one

The curve is swept over its own fine grid of lambdas, which follows the spread of the experts' costs: so it needs no price of a cost
unit. Formulas and their sources are in `evals/metrics/`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evals.metrics.calls import apgr, call_share, gap_recovered
from evals.metrics.cost_quality import aiq, cost_save, cost_to_reach, hypervolume
from evals.sweeps.nouns import Tested
from routers.base import FloatArray
from routers.training.evaluation import Choice, choose

STEPS = 60


@dataclass(frozen=True, slots=True)
class CostCurve:
    """cost_to_match: least cost at which the best single expert's reward is reached, as a share of its cost, infinite if never.

    It and `cost_save` are None where that expert is free.
    """

    aiq: float
    hypervolume: float
    cost_to_match: float | None
    cost_save: float | None


@dataclass(frozen=True, slots=True)
class CallCurve:
    """RouteLLM's measures."""

    apgr: float
    cpt50: float
    cpt80: float


def curve_lambdas(tested: Tested) -> NDArray[np.float64]:
    """Of the fine grid: 0, then rising until nothing but cost counts."""
    means = tested.trained_cents.mean(axis=0)
    spread = float(np.nanmax(means) - np.nanmin(means))
    return np.concatenate(([0.0], np.geomspace(1e-4, 1e3, STEPS) / (spread or 1.0)))


def known_costs(tested: Tested) -> FloatArray:
    """`(n_queries, n_experts)` in the table's unit; one that nobody noted is as expected."""
    rate = 1.0 if tested.cents_per_unit is None else tested.cents_per_unit
    expected = np.nan_to_num(tested.cents) / rate
    costs: FloatArray = np.where(np.isnan(tested.table.costs), expected, tested.table.costs).astype(np.float32)
    return costs


def mean_of(tested: Tested, values: FloatArray, choice: Choice) -> float:
    """The protocol's mean of the chosen cells."""
    return float((tested.weights * values[np.arange(len(choice)), choice]).mean(dtype=np.float64))


def cost_curve(tested: Tested, predicted: FloatArray, rewards: FloatArray) -> CostCurve | None:
    """rewards: complete, `(n_queries, n_experts)`. None without costs, or when all experts cost the same."""
    if not tested.has_costs:
        return None
    paid = known_costs(tested)
    choices = [choose(predicted, tested.cents, float(lambda_)) for lambda_ in curve_lambdas(tested)]
    costs = np.array([mean_of(tested, paid, choice) for choice in choices])
    earned = np.array([mean_of(tested, rewards, choice) for choice in choices])
    singles = (tested.weights[:, None] * paid).mean(axis=0, dtype=np.float64)
    low, high = float(singles.min()), float(singles.max())
    if high <= low:
        return None
    single = tested.best_single()
    single_cost, single_reward = mean_of(tested, paid, single), mean_of(tested, rewards, single)
    reached = np.nan_to_num(cost_to_reach(costs, earned, single_reward), nan=np.inf)
    return CostCurve(
        aiq(costs, earned, low, high),
        hypervolume(costs, earned, reference_cost=high, reference_quality=0.0),
        float(reached) / single_cost if single_cost else None,
        cost_save(costs, earned, single_cost, single_reward) if single_cost else None,
    )


def call_curve(tested: Tested, predicted: FloatArray) -> CallCurve | None:
    """The strong expert is the one with the higher mean. None unless there are two experts, both tried on every query."""
    rewards = tested.table.rewards.astype(np.float64)
    if rewards.shape[1] != 2 or np.isnan(rewards).any():
        return None
    means = rewards.mean(axis=0)
    weak, strong = int(means.argmin()), int(means.argmax())
    if means[weak] == means[strong]:
        return None
    gain = (predicted[:, strong] - predicted[:, weak]).astype(np.float64)
    recovered = gap_recovered(gain, rewards[:, weak], rewards[:, strong])
    return CallCurve(apgr(recovered), call_share(recovered, 0.5), call_share(recovered, 0.8))
