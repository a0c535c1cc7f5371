"""A cascade: the cheap expert answers first, and a better one only where the cheap one is not sure of its answer.

    plan = climb(plan, cents, judgeable={"small"}, steps=2)      # plan.rungs == ("small", "large")
    is_sure(0.83, threshold=0.7)                                 # True: nobody else is asked
    found = fit_threshold(confidence, weak, strong, weak_cents, strong_cents, budget=0.2)

Mixture of Weak & Strong Experts (arXiv 2311.05185): the strong expert is asked in the region where the weak one's confidence
is low; FrugalGPT (arXiv 2305.05176) and AutoMix (arXiv 2310.12963) do so with language models for their cost. How sure an
expert is: `routers/confidence.py`. Not here: asking (`orchestrator/routing/cascading.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from routers.base import FloatArray
from routers.policy import Plan

_Array = NDArray[np.float64]


def climb(plan: Plan, cents: Mapping[str, float], *, judgeable: Collection[str], steps: int) -> Plan:
    """The plan as a cascade of at most `steps` experts, or as it is where nobody who can be judged is cheaper than the plan's best.

    First comes the cheapest expert that can be judged (of equals the better one); last whoever has the highest utility of the
    others, and before it those that come next and can be judged. cents: expected costs, by expert. steps: at least 2.
    """
    best = plan.choices[0].expert
    names = [choice.expert for choice in plan.choices]
    weak = [name for name in names if name in judgeable and (name == best or cents[name] < cents[best])]
    if not weak or len(names) == 1:
        return plan
    first = min(weak, key=lambda name: cents[name])
    others = [name for name in names if name != first]
    between = [name for name in others[1:] if name in judgeable][: steps - 2]
    rungs = (first, *reversed(between), others[0])
    return replace(plan, rungs=rungs, reason=f"{first} is asked first, at {cents[first]:.4g} US cents")


def retry(plan: Plan, most: int) -> Plan:
    """The plan as a cascade of its `most` best experts in their order; as it is where there is nobody else to ask."""
    rungs = tuple(choice.expert for choice in plan.choices[:most])
    return replace(plan, rungs=rungs) if len(rungs) > 1 else plan


def is_sure(confidence: float | None, threshold: float) -> bool:
    """Whether an answer stands. One whose confidence is not known does not."""
    return confidence is not None and confidence >= threshold


@dataclass(frozen=True, slots=True)
class FittedThreshold:
    """threshold: of confidence. reward, cents: their means on the outcomes it was fitted to. escalated: share of the queries."""

    threshold: float
    reward: float
    cents: float
    escalated: float


def fit_threshold(
    confidence: FloatArray,
    weak: FloatArray,
    strong: FloatArray,
    weak_cents: FloatArray,
    strong_cents: FloatArray,
    *,
    quality: float | None = None,
    budget: float | None = None,
) -> FittedThreshold:
    """The threshold that costs least at a mean reward of `quality` or more, or earns most at a mean cost of `budget` or less.

    All arrays are `(n_queries,)`: the weak expert's confidence, and both experts' rewards and costs in US cents; the weak one
    is always paid for. Raises ValueError without queries, unless one of the two targets is given, and when it can't be met.
    """
    if not len(confidence):
        raise ValueError("no query to fit a threshold to, expected at least one")
    if (quality is None) == (budget is None):
        raise ValueError("expected either a quality or a budget")
    thresholds, rewards, costs, escalated = threshold_curve(confidence, weak, strong, weak_cents, strong_cents)
    feasible = rewards >= quality - 1e-9 if quality is not None else costs <= (budget or 0.0) + 1e-9
    if not feasible.any():
        best = f"a mean reward of {rewards.max():.4f}" if quality is not None else f"{costs.min():.4g} US cents a query"
        raise ValueError(f"no threshold meets the target: the best there is is {best}")
    value = -costs if quality is not None else rewards
    chosen = int(np.where(feasible, value, -np.inf).argmax())
    return FittedThreshold(*(float(column[chosen]) for column in (thresholds, rewards, costs, escalated)))


def threshold_curve(
    confidence: FloatArray, weak: FloatArray, strong: FloatArray, weak_cents: FloatArray, strong_cents: FloatArray
) -> tuple[_Array, _Array, _Array, _Array]:
    """Thresholds, and with each of them mean reward, mean cost and the share that is escalated; arrays as of `fit_threshold`.

    A threshold lies half-way between two confidences, so that it doesn't hang on the last digit of one.
    """
    order = np.argsort(confidence, kind="stable")
    ranked = confidence[order].astype(np.float64)
    ends = np.flatnonzero(np.append(True, np.append(np.diff(ranked) > 0, True)))  # how many are escalated
    padded = np.concatenate([[min(0.0, ranked[0])], ranked, [ranked[-1] + 1e-6]])
    thresholds = np.where(ends == 0, padded[0], (padded[ends] + padded[ends + 1]) / 2)
    total = len(ranked)
    gains = np.append(0.0, np.cumsum((strong - weak)[order], dtype=np.float64))[ends]
    extra = np.append(0.0, np.cumsum(strong_cents[order], dtype=np.float64))[ends]
    rewards, costs = weak.mean(dtype=np.float64) + gains / total, weak_cents.mean(dtype=np.float64) + extra / total
    return thresholds, rewards, costs, ends / total
