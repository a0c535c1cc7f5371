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

LEVELS = 16
"""Values that the bootstrap tells apart."""
NORMAL = 1.959964
"""The 97.5% quantile of the normal distribution."""


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


@dataclass(frozen=True, slots=True)
class Bins:
    """Answers by what was expected of them, each `(n_bins,)`, by rising expectation; bins without any are left out.

    n: answers. weight: their sum of weights. expected, earned: means of reward by weight.
    """

    n: NDArray[np.intp]
    weight: NDArray[np.float64]
    expected: NDArray[np.float64]
    earned: NDArray[np.float64]


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

    Values are counted in `LEVELS` equal bins, each standing for the mean of its own, and the counts are drawn: with few distinct
    values, as rewards have, that is the bootstrap itself. Draws are then stretched to the standard deviation of the values and
    to Student's t, without which the interval of few values is too narrow; that of fewer than about 20 still is. It stays
    within the values. Raises ValueError when none is known.
    """
    known = values[~np.isnan(values)].astype(np.float64)
    if not len(known):
        raise ValueError("no value is known, expected at least one")
    n, mean, least, most = len(known), known.mean(), known.min(), known.max()
    if least == most:
        return Interval(float(least), float(least), float(least))
    counts, levels = _levels(known - mean)
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples) @ levels / n
    stretch = known.std(ddof=1) / np.sqrt(counts @ levels**2 / n) * _student(n - 1) / NORMAL
    low, high = np.clip(mean + stretch * np.percentile(drawn, [2.5, 97.5]), least, most)
    return Interval(float(mean), float(low), float(high))


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


def binned(predicted: FloatArray, rewards: FloatArray, weights: FloatArray, bins: int = 10) -> Bins:
    """Answers `(n_answers,)` in equal bins of expected reward; what is expected beyond 0..1 is in the first bin or the last."""
    places = np.minimum((np.clip(predicted, 0.0, 1.0) * bins).astype(np.intp), bins - 1)
    counts, exact = np.bincount(places, minlength=bins), weights.astype(np.float64)
    weight, expected, earned = (
        np.bincount(places, exact * values, minlength=bins).astype(np.float64)
        for values in (np.ones_like(exact), predicted, rewards)
    )
    used = weight > 0
    return Bins(counts[used], weight[used], expected[used] / weight[used], earned[used] / weight[used])


def entropy_bits(shares: FloatArray) -> float:
    """Of the shares `(n_experts,)`: 0 when all queries go to one expert, `log2(n_experts)` when they spread evenly."""
    used = shares[shares > 0].astype(np.float64)
    return float(max(0.0, -(used * np.log2(used)).sum()))


def _levels(values: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """How many values are in each of `LEVELS` equal bins, and their mean there; empty bins are left out."""
    least, most = values.min(), values.max()
    bins = np.minimum((values - least) * (LEVELS / (most - least)), LEVELS - 1).astype(np.intp)
    counts = np.bincount(bins)
    used = counts > 0
    return counts[used], np.bincount(bins, values)[used] / counts[used]


def _student(degrees: int) -> float:
    """The 97.5% quantile of Student's t (Abramowitz and Stegun 26.7.5): within 0.003 from 10 degrees of freedom on."""
    z = NORMAL
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def _calibration(predicted: FloatArray, rewards: FloatArray, weights: FloatArray, bins: int) -> Calibration:
    found = binned(predicted, rewards, weights, bins)
    ece = float(found.weight @ np.abs(found.expected - found.earned) / found.weight.sum())
    return Calibration(len(predicted), ece, float((weights * (predicted - rewards) ** 2).sum() / weights.sum()))
