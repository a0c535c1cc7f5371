"""Evidence that one expert is better than another, which may be looked at after every answer.

    evidence = Evidence(3, population=None)
    evidence.add(rewards)                        # (m, 3): the next m queries, in the order they are asked
    evidence.log_beats[0, 2] > np.log(1 / 0.05)  # expert 0 is better than 2, wrong at most one time in 20

It is a gambler's capital. Where expert 0 is no better than 2, bets on the difference of their rewards win nothing on average, so a
capital of 1 ever reaches 1 / alpha with a chance of at most alpha (Ville 1939): testing by betting (Waudby-Smith and Ramdas 2024,
arXiv 2010.09686). The bets are spread over a grid, a mixture that needs no tuning. A difference is of one query, so what is hard
for both cancels out. Of a finite population, drawn without replacement, what was drawn says what the mean of the rest would be
(the same paper, and arXiv 2006.04347), and in the end everything.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from routers.base import FloatArray

Array = NDArray[np.float64]

BETS: Array = np.geomspace(0.005, 0.95, 16)
"""Shares of the capital that are bet at once. At 1 a single loss would end the game."""
_NEARLY_ALL = 1.0 - 1e-6
_ROUNDING = 1e-9


class Evidence:
    """log_beats: `(n_experts, n_experts)`, log capital of the bets that row's expert is better than column's; inf where certain.

    population: how many queries there are in all, None where those asked stand for endlessly many.
    """

    def __init__(self, num_experts: int, population: int | None) -> None:
        self._population = population
        self._lead = np.zeros((num_experts, num_experts))
        self._count = np.zeros((num_experts, num_experts))
        self._capital = np.zeros((num_experts, num_experts, len(BETS)))
        self.log_beats: Array = np.zeros((num_experts, num_experts))

    def add(self, rewards: FloatArray) -> None:
        """`(m, n_experts)`: of the next m queries, NaN where an expert wasn't asked: pairs of it stay as they were."""
        columns = np.flatnonzero(~np.isnan(rewards).all(axis=0))
        if len(columns) < 2:
            return
        block = np.ix_(columns, columns)
        known = rewards[:, columns].astype(np.float64)
        differences = known[:, :, None] - known[:, None, :]
        grown = log_growth(differences, self._lead[block], self._count[block], self._population)
        self._capital[block] += grown
        self._lead[block] += np.nansum(differences, axis=0)
        self._count[block] += (~np.isnan(differences)).sum(axis=0)
        self.log_beats[block] = log_capital(self._capital[block])
        if self._population is not None:
            self.log_beats[self._lead > self._population - self._count + _ROUNDING] = np.inf


def log_growth(differences: Array, lead: Array, count: Array, population: int | None) -> Array:
    """`(..., n_bets)`: by how much the log capital of each bet on a positive mean grows with `differences` `(m, ...)`, -1..1.

    lead, count: `(...)`, sum and number of the differences before them. NaN are skipped.
    """
    known = ~np.isnan(differences)
    values = np.where(known, differences, 0.0)
    means = np.zeros_like(values)
    if population is not None:
        sums = lead + np.cumsum(values, axis=0) - values
        left = population - count - (np.cumsum(known, axis=0) - known)
        means = np.maximum(-sums / np.maximum(left, 1), -_NEARLY_ALL)  # of what is left, if the mean of all were 0
    grown: Array = _grown(np.where(known, (values - means) / (1.0 + means), 0.0))
    return grown


def log_capital(grown: Array) -> Array:
    """`(...)`: log capital of a mixture that began with the same share in each bet, from `(..., n_bets)`."""
    capital: Array = np.logaddexp.reduce(grown, axis=-1) - np.log(len(BETS))
    return capital


def interval(rewards: FloatArray, alpha: float = 0.05) -> tuple[float, float]:
    """Ends of what the mean of rewards 0..1 may be, wrong with a chance of at most alpha however often it is looked at.

    (0, 1) without rewards; NaN are skipped. About all queries like those that were asked.
    """
    values = rewards[~np.isnan(rewards)].astype(np.float64)
    low = _lowest_mean(values, alpha / 2)
    return low, 1.0 - _lowest_mean(1.0 - values, alpha / 2)


def _lowest_mean(values: Array, alpha: float) -> float:
    """The least mean that isn't refuted by bets on a higher one."""

    def excess(mean: float) -> float:
        return float(log_capital(_grown(values / mean - 1.0)) + np.log(alpha))

    least = 1e-6
    if not len(values) or excess(least) <= 0:
        return 0.0
    return float(brentq(excess, least, 1.0, xtol=1e-5))


def _grown(payoffs: Array) -> Array:
    """`(..., n_bets)` from `(m, ...)`: sums of `log(1 + bet * payoff)`; a payoff is at least -1, and 0 on average at best."""
    grown: Array = np.log1p(payoffs[..., None] * BETS).sum(axis=0)
    return grown
