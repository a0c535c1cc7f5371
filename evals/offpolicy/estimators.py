"""What a policy would have earned on decisions that another one made: pure functions over arrays.

    estimate = doubly_robust(rewards, propensities, actions, q_hat, policy)
    estimate.value, estimate.low, estimate.high           # 0.62, 0.60, 0.64
    interval(estimate.influence - live)                   # of the difference to what was earned, decision by decision

Arrays have one row a decision: `rewards (n,)`, `propensities (n,)` with which the logged action was chosen, `actions (n,)` its
column, `q_hat (n, n_actions)` expected rewards by a model that was not fitted on the row, `policy (n, n_actions)` probabilities of
the policy that is evaluated. A reward that is NaN was not observed: its row counts for nothing but the model, and propensities must
then be those of being chosen and observed. Not here: where arrays come from (`logs.py`), and whether they suffice (`overlap.py`).

Every estimate is the mean of its influence values, one a decision, so one interval serves all. Sources: Horvitz and Thompson 1952
(`ips`), Swaminathan and Joachims 2015 (`snips`), Dudík et al. 2011, arXiv 1103.4601 (`direct_method`, `doubly_robust`), Thomas and
Brunskill 2016, arXiv 1604.00923 (`sndr`), Wang et al. 2017, arXiv 1612.01205 (`switch_dr`); the numbers are those of `obp` 0.5.7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routers.training.evaluation import Interval

Array = NDArray[np.float64]
Actions = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A value with the ends of its 95% interval.

    influence: `(n,)`, what each decision contributes; its mean is `value`. effective_sample_size: of the weights, by Kish; as many
    decisions of the evaluated policy's own would say as much. max_weight: the largest; both count rows with a reward alone.
    """

    value: float
    low: float
    high: float
    influence: Array
    effective_sample_size: float
    max_weight: float


def ips(rewards: Array, propensities: Array, chances: Array, *, max_weight: float = math.inf) -> Estimate:
    """Inverse propensity scoring: the mean of `chance / propensity * reward`. Unbiased where every chosen action had a propensity.

    chances: `(n,)`, with which the evaluated policy takes the logged action. max_weight: larger weights are cut to it, which biases
    towards 0. Raises ValueError for a propensity outside (0, 1], a chance outside 0..1, and without decisions.
    """
    weights, known = _weighted(rewards, propensities, chances, max_weight)
    return _estimate(weights * known, weights)


def snips(rewards: Array, propensities: Array, chances: Array, *, max_weight: float = math.inf) -> Estimate:
    """`ips` divided by the mean weight: within the range of the rewards, biased by about 1/n, steadier. As `ips`, and ValueError
    when no logged action is one that the evaluated policy takes."""
    weights, known = _weighted(rewards, propensities, chances, max_weight)
    return _self_normalised(np.zeros(len(weights)), weights, known)


def direct_method(q_hat: Array, policy: Array) -> Estimate:
    """What the model expects of the policy: as wrong as the model, and the interval does not know it."""
    return _estimate(_expected(q_hat, policy), np.ones(len(q_hat)))


def doubly_robust(
    rewards: Array, propensities: Array, actions: Actions, q_hat: Array, policy: Array, *, max_weight: float = math.inf
) -> Estimate:
    """`direct_method` corrected by weighted residuals: right if the propensities or the model are. Errors as in `ips`."""
    weights, residuals = _residuals(rewards, propensities, actions, q_hat, policy, max_weight)
    return _estimate(_expected(q_hat, policy) + weights * residuals, weights)


def sndr(
    rewards: Array, propensities: Array, actions: Actions, q_hat: Array, policy: Array, *, max_weight: float = math.inf
) -> Estimate:
    """`doubly_robust` with the residuals divided by the mean weight, as in `snips`. Errors as there."""
    weights, residuals = _residuals(rewards, propensities, actions, q_hat, policy, max_weight)
    return _self_normalised(_expected(q_hat, policy), weights, residuals)


def switch_dr(
    rewards: Array, propensities: Array, actions: Actions, q_hat: Array, policy: Array, *, threshold: float
) -> Estimate:
    """`doubly_robust` where the weight is at most `threshold`, the model alone where it is more. Errors as in `ips`."""
    weights, residuals = _residuals(rewards, propensities, actions, q_hat, policy, math.inf)
    weights = np.where(weights <= threshold, weights, 0.0)
    return _estimate(_expected(q_hat, policy) + weights * residuals, weights)


def interval(influence: Array) -> Interval:
    """The mean of `(n,)` values with the ends of its 95% t interval; of a single value both are infinite.

    Raises ValueError without values, and for one that is not finite.
    """
    from scipy.special import stdtrit

    n = len(influence)
    if not n or not np.isfinite(influence).all():
        raise ValueError("expected decisions, got none" if not n else "expected finite numbers")
    mean = float(influence.mean())
    if n == 1:
        return Interval(mean, -math.inf, math.inf)
    half = float(stdtrit(degrees_of_freedom(influence), 0.975) * influence.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half)


def degrees_of_freedom(influence: Array) -> float:
    """Of the variance of `(n,)` values, n of 2 or more: `2 n / (k - 1)` by their kurtosis k, from 1 to n - 1 (Satterthwaite 1946).

    Large weights make for few values far out, by which the variance is known badly, and a plain t interval is too narrow.
    """
    n, squares = len(influence), (influence - influence.mean()) ** 2
    variance = float(squares.mean())
    excess = float((squares**2).mean()) / variance**2 - 1.0 if variance else 0.0
    return min(n - 1.0, max(1.0, 2.0 * n / excess)) if excess > 0 else n - 1.0


def effective_sample_size(weights: Array) -> float:
    """`(sum w)^2 / sum w^2` (Kish 1965); 0 when all weights are."""
    return float(weights.sum() ** 2 / (weights @ weights)) if weights.any() else 0.0


def _estimate(influence: Array, weights: Array) -> Estimate:
    found = interval(influence)
    size = effective_sample_size(weights)
    return Estimate(found.mean, found.low, found.high, influence, size, float(weights.max()))


def _self_normalised(expected: Array, weights: Array, values: Array) -> Estimate:
    """`mean(expected) + sum(w * values) / sum(w)`, linearised around the ratio (the delta method) for its influence values."""
    mean_weight = weights.mean()
    if not mean_weight:
        raise ValueError("no logged action is one that the evaluated policy takes: nothing can be said of it")
    ratio = float(weights @ values / weights.sum())
    return _estimate(expected + ratio + weights / mean_weight * (values - ratio), weights)


def _weighted(rewards: Array, propensities: Array, chances: Array, max_weight: float) -> tuple[Array, Array]:
    """Weights, 0 where there is no reward, and rewards without gaps."""
    if not len(rewards):
        raise ValueError("expected at least one decision, got none")
    if not len(rewards) == len(propensities) == len(chances):
        raise ValueError(f"expected arrays of one length, got {len(rewards)}, {len(propensities)} and {len(chances)}")
    if not ((propensities > 0) & (propensities <= 1)).all():  # False for NaN as well
        raise ValueError("expected propensities above 0 and up to 1: what was logged can't have been impossible")
    if not ((chances >= 0) & (chances <= 1)).all():
        raise ValueError("expected the evaluated policy's probabilities to lie between 0 and 1")
    if np.isinf(rewards).any():
        raise ValueError("expected finite rewards, or NaN where none was observed")
    weights = np.where(np.isnan(rewards), 0.0, np.minimum(chances / propensities, max_weight))
    return weights, np.nan_to_num(rewards)


def _residuals(
    rewards: Array, propensities: Array, actions: Actions, q_hat: Array, policy: Array, max_weight: float
) -> tuple[Array, Array]:
    """Weights, and what the logged actions earned above what the model expects of them."""
    _expected(q_hat, policy)
    if len(actions) != len(q_hat) or not ((actions >= 0) & (actions < q_hat.shape[1])).all():
        raise ValueError(f"expected an action from 0 to {q_hat.shape[1] - 1} for each of {len(q_hat)} decisions")
    rows = np.arange(len(actions))
    weights, known = _weighted(rewards, propensities, policy[rows, actions], max_weight)
    return weights, known - q_hat[rows, actions]


def _expected(q_hat: Array, policy: Array) -> Array:
    """`(n,)`: what the model expects of the policy."""
    if q_hat.ndim != 2 or q_hat.shape != policy.shape:
        raise ValueError(
            f"expected a model and a policy of one shape (n, n_actions), got {q_hat.shape}, {policy.shape}"
        )
    if not np.isfinite(q_hat).all() or not (policy >= 0).all() or not np.allclose(policy.sum(axis=1), 1.0):
        raise ValueError(
            "expected finite rewards of the model, and a policy whose rows are probabilities that sum to 1"
        )
    expected: Array = (q_hat * policy).sum(axis=1)
    return expected
