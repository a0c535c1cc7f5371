"""A candidate router against what was live, on the decisions that were logged: would it have earned more?

    compared = compare(log, candidate.predict(log.queries), lambda_=0.2, cents=costs.predict(log.queries, log.experts))
    compared.difference                        # Interval(mean=0.021, low=0.008, high=0.034)
    compared.verdict, compared.reason          # "promote", "the candidate earns more: ..."

The candidate always takes the feasible expert with the highest `reward - lambda * cents`; waits are not weighed. Its value is
doubly robust (`estimators.py`) with each expert's mean as the model, every row's own reward left out (`logs.leave_one_out`).
Propensities are known exactly here, so with feedback on all decisions the estimate is unbiased whatever the model, and a better
one would only narrow the interval: but single rewards are mostly luck, which none foresees. `q_hat` takes another's predictions.

Assumed: feedback comes as often for a good answer as for a bad one of the same expert (experts may differ: answers are weighted by
1 / their expert's rate); the candidate did not learn from these decisions; the next queries are like these. Where the candidate's
choice had no propensity, or an expert never got feedback, nothing is known, and the intervals span all that might have been earned
there, from 0 to 1 (Manski 1990).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evals.offpolicy.estimators import Actions, Array, Estimate, degrees_of_freedom, doubly_robust, interval
from evals.offpolicy.logs import Log, leave_one_out
from evals.offpolicy.overlap import Overlap, overlap
from evals.offpolicy.power import DIFFERENCE, POWER, decisions_needed, power
from routers.training.evaluation import Interval

Verdict = Literal["promote", "do not promote", "not enough data"]
FEW = 30
"""With fewer degrees of freedom nothing is concluded: where few large weights decide, gains are found that are not there."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """n: decisions; num_scored: those with feedback. live, candidate, difference: utility per decision, reward where lambda is 0.

    differences: `(n,)` influence values of the difference. smallest: the difference that matters. num_needed: decisions that
    would show it with probability 0.8. power: the probability that these do.
    """

    n: int
    num_scored: int
    lambda_: float
    live: Interval
    candidate: Interval
    difference: Interval
    differences: Array
    overlap: Overlap
    smallest: float
    num_needed: int
    power: float
    verdict: Verdict
    reason: str
    notes: tuple[str, ...]


def compare(
    log: Log,
    scores: Array,
    *,
    lambda_: float = 0.0,
    cents: Array | None = None,
    q_hat: Array | None = None,
    smallest: float = DIFFERENCE,
) -> Comparison:
    """scores, cents, q_hat: `(n, n_experts)`, columns as the log's: the rewards that the candidate expects, what answers are
    expected to cost in US cents (NaN counts as none), and what a model that has not seen the row expects of the utility.

    smallest: the difference in utility that is worth a change. Raises ValueError for fewer than 2 decisions, for no feedback, and
    for scores that are not finite.
    """
    if len(log) < 2 or not log.scored.any():
        raise ValueError(
            f"expected 2 decisions or more, some with feedback, got {len(log)}, {log.scored.sum()} with it"
        )
    prices = np.zeros(scores.shape) if cents is None else lambda_ * np.nan_to_num(cents)
    choice = candidate_choice(log, scores - prices)
    found = overlap(log, choice)
    values = log.rewards - lambda_ * log.cents
    chances = log.logged * np.where(log.scored, log.feedback_rates[log.actions], 1.0)
    model = leave_one_out(log.actions, values, chances, len(log.experts)) if q_hat is None else q_hat
    candidate = doubly_robust(values, chances, log.actions, model, _certain(choice, len(log.experts))).influence
    live = _as_logged(log, values, model).influence
    worst, best = _bounds(candidate, found.supported, prices[np.arange(len(log)), choice])
    live_worst, live_best = _bounds(live, log.feedback_rates[log.actions] > 0, lambda_ * log.cents)
    differences = candidate - live
    difference = _spanning(worst - live_best, differences, best - live_worst)
    needed = decisions_needed(differences, smallest, POWER)
    verdict, reason = _judged(difference, found, differences, needed, smallest)
    return Comparison(
        n=len(log),
        num_scored=int(log.scored.sum()),
        lambda_=lambda_,
        live=_spanning(live_worst, live, live_best),
        candidate=_spanning(worst, candidate, best),
        difference=difference,
        differences=differences,
        overlap=found,
        smallest=smallest,
        num_needed=needed,
        power=power(differences, smallest),
        verdict=verdict,
        reason=reason,
        notes=(*found.warnings, *_notes(log)),
    )


def candidate_choice(log: Log, utilities: Array) -> Actions:
    """`(n,)`: the feasible expert with the highest utility, the first of equals."""
    if utilities.shape != log.propensities.shape or not np.isfinite(utilities).all():
        raise ValueError(f"expected finite scores of shape {log.propensities.shape}, got {utilities.shape}")
    choice: Actions = np.where(log.feasible, utilities, -np.inf).argmax(axis=1)
    return choice


def _certain(choice: Actions, num_experts: int) -> Array:
    """A policy that takes `choice`, as probabilities."""
    policy: Array = np.eye(num_experts)[choice]
    return policy


def _as_logged(log: Log, values: Array, model: Array) -> Estimate:
    """What was live: the mean of what was earned, with decisions without feedback filled in."""
    rates = np.where(log.scored, log.feedback_rates[log.actions], 1.0)
    return doubly_robust(values, rates, log.actions, model, _certain(log.actions, len(log.experts)))


def _bounds(influence: Array, known: NDArray[np.bool_], prices: Array) -> tuple[Array, Array]:
    """The least and the most that each decision may contribute: where nothing is known, a reward of 0 and of 1."""
    return np.where(known, influence, -prices), np.where(known, influence, 1.0 - prices)


def _spanning(worst: Array, expected: Array, best: Array) -> Interval:
    """The mean of what is expected, from the low end of the worst to the high end of the best."""
    return Interval(float(expected.mean()), interval(worst).low, interval(best).high)


def _judged(
    difference: Interval, found: Overlap, differences: Array, needed: int, smallest: float
) -> tuple[Verdict, str]:
    low, high = difference.low, difference.high
    span = f"{difference.mean:+.4f} (95%: {low:+.4f} to {high:+.4f})"
    n, freedom = len(differences), degrees_of_freedom(differences)
    if found.share_unsupported > smallest and low <= 0 and high >= smallest:
        return "not enough data", (
            f"{found.share_unsupported:.1%} of the candidate's choices had no chance of being made, and more decisions won't tell "
            f"unless the policy explores: the difference is {span}"
        )
    if freedom < FEW:
        return "not enough data", (
            f"the difference, {span}, rests on few decisions that count for much: {freedom:.0f} degrees of freedom, "
            f"expected {FEW} or more"
        )
    if low > 0:
        return "promote", f"the candidate earns more than what was live: {span}"
    if high < smallest:
        return "do not promote", f"the candidate does not earn {smallest:g} more than what was live: {span}"
    if n >= needed:
        return (
            "do not promote",
            f"no gain is shown, and {n:,} decisions would show {smallest:g} four times of five: {span}",
        )
    return (
        "not enough data",
        f"the difference is {span}; to show {smallest:g} takes about {needed - n:,} decisions more",
    )


def _notes(log: Log) -> list[str]:
    if log.scored.all():
        return []
    rates = log.feedback_rates[np.bincount(log.actions, minlength=len(log.experts)) > 0]
    return [
        f"{log.scored.mean():.1%} of the decisions got feedback ({rates.min():.1%} to {rates.max():.1%} by expert): assumed is "
        "that good and bad answers of an expert get it equally often"
    ]
