"""What a choice of experts earns on outcomes, and how sure that is: pure functions over arrays.

    choice = choose(router.predict(test.queries))
    bootstrap(earned(test, choice))                       # Interval(mean=0.66, low=0.64, high=0.68)
    paired(earned(test, choice), earned(test, best))      # of the difference: the gain over the best single expert

An expert that was not tried on a query earns NaN there, and both functions leave the query out; `completed` fills such gaps without
favour, and undoes the preferences of the policy that left them. Not here: the report of a router (`report.py`), fitting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray
from routers.data.table import RewardTable

Choice = NDArray[np.intp]

CHUNK = 4_000_000
"""Draws held at once by the bootstrap."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the ends of its 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far expected rewards are from earned ones over `n` answers. ece: mean gap in ten bins; brier: mean squared error."""

    n: int
    ece: float
    brier: float


def choose(predictions: FloatArray, cents: FloatArray | None = None, lambda_: float = 0.0) -> Choice:
    """The column with the highest `reward - lambda * cents` in each row, the first of equals; an unknown cost counts as none."""
    utility = predictions if cents is None or not lambda_ else predictions - lambda_ * np.nan_to_num(cents)
    choice: Choice = utility.argmax(axis=1)
    return choice


def earned(table: RewardTable, choice: Choice) -> FloatArray:
    """`(n_queries,)`: the reward of each query's choice, NaN where it was not tried."""
    rewards: FloatArray = table.rewards[np.arange(len(table)), choice]
    return rewards


def completed(table: RewardTable, predictions: FloatArray) -> RewardTable:
    """The table with a reward in every cell, so that the mean over any choice estimates what that choice would have earned.

    `expected + weight * (reward - expected)` where tried, `expected` elsewhere (doubly robust: Dudík et al. 2011, arXiv 1103.4601),
    the weights of each expert normalised to a mean of 1 over all queries. Right if either the gaps follow the table's weights
    or the predictions `(n_queries, n_experts)` are right. Single cells may lie outside 0..1; without gaps nothing changes.
    """
    if table.tried.all():
        return table
    weights = np.where(table.tried, table.weights, 0.0)
    means = weights.mean(axis=0)
    weights = np.divide(weights, means, out=np.zeros_like(weights), where=means > 0)
    rewards = predictions + weights * (np.nan_to_num(table.rewards) - predictions)
    return replace(table, rewards=rewards.astype(np.float32))


def bootstrap(values: FloatArray, *, seed: int = 0, resamples: int = 2_000) -> Interval:
    """The mean of the values that are known, with the percentile interval over resampled queries (Efron 1979).

    Fewer than about 20 values give an interval that is too narrow. Raises ValueError when none is known.
    """
    known = values[~np.isnan(values)].astype(np.float64)
    if not len(known):
        raise ValueError("no value is known, expected at least one")
    dice = np.random.default_rng(seed)
    at_once = max(1, CHUNK // len(known))
    counts = [min(at_once, resamples - start) for start in range(0, resamples, at_once)]
    means = np.concatenate([known[dice.integers(0, len(known), (n, len(known)))].mean(axis=1) for n in counts])
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(known.mean()), float(low), float(high))


def paired(first: FloatArray, second: FloatArray, *, seed: int = 0) -> Interval:
    """The mean of `first - second`, `(n_queries,)` each, over the queries on which both are known; ValueError without any."""
    return bootstrap(first - second, seed=seed)


def calibration(predictions: FloatArray, table: RewardTable, *, bins: int = 10) -> Mapping[str, Calibration]:
    """By expert that was tried: expected calibration error (Guo et al. 2017, arXiv 1706.04599) and Brier score, for soft rewards.

    predictions: `(n_queries, n_experts)`, columns as the table's.
    """
    return {
        name: _calibration(predictions[tried, i], table.rewards[tried, i], table.weights[tried, i], bins)
        for i, (name, tried) in enumerate(zip(table.experts, table.tried.T, strict=True))
        if tried.any()
    }


def entropy_bits(shares: FloatArray) -> float:
    """Of the shares `(n_experts,)`: 0 when all queries go to one expert, `log2(n_experts)` when they spread evenly."""
    used = shares[shares > 0].astype(np.float64)
    return float(max(0.0, -(used * np.log2(used)).sum()))


def _calibration(predicted: FloatArray, rewards: FloatArray, weights: FloatArray, bins: int) -> Calibration:
    gaps = weights * (predicted - rewards)
    places = np.minimum((predicted * bins).astype(np.intp), bins - 1)
    ece = np.abs(np.bincount(places, weights=gaps, minlength=bins)).sum() / weights.sum()
    return Calibration(len(predicted), float(ece), float((weights * (predicted - rewards) ** 2).sum() / weights.sum()))
