"""From scores to a plan: the one place where reward, cost and wait are weighed. Pure: no I/O, no clock, no fleet.

    plan = make_plan([Option("small", 0.7, cost_cents=0.0), Option("large", 0.8, cost_cents=0.9)], Settings(lambda_=0.2))
    plan.choices[0].expert          # 'small': 0.7 - 0.2 * 0.0 > 0.8 - 0.2 * 0.9
    bind(plan.choices, {"small": 30.0}, plan.mu)    # whoever is best now, with 30 s to wait for small

Serving and evals call the same functions. Exploration happens here and only among near-ties; `propensity` gives the exact
probability with which an expert was bound, given the scores and the waits at binding, and `propensities` everybody's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

Number = TypeVar("Number", float, NDArray[np.float64])


def utility(reward: Number, cost_cents: Number, wait_s: Number, lambda_: float, mu: float) -> Number:
    """`reward - lambda * cost - mu * wait`; works on floats and on arrays of one shape.

    reward: 0..1. cost_cents: US cents. wait_s: seconds. lambda_: reward given up per US cent. mu: reward given up per second.
    """
    return reward - lambda_ * cost_cents - mu * wait_s


class Option(Struct, frozen=True):
    """A feasible expert as the policy sees it. reward: expected, 0..1; one that is not a number counts as 0."""

    expert: str
    reward: float
    cost_cents: float = 0.0


class Settings(Struct, frozen=True):
    """lambda_, mu: as in `utility`. explore: probability of exploring. near_tie: how far below the best a tie may lie.

    stay: reward given up rather than leave the session's expert.
    """

    lambda_: float = 0.0
    mu: float = 0.0
    explore: float = 0.0
    near_tie: float = 0.05
    stay: float = 0.15


class Choice(Struct, frozen=True):
    """An expert in the plan. utility: before waiting is priced, with what staying with the conversation is worth."""

    expert: str
    utility: float


class Plan(Struct, frozen=True):
    """Feasible experts, best first before waits, and why.

    ranking: the experts before exploration. draw: the one that exploration put first, if it did. ties: those it drew from.
    explore: the probability of drawing. rungs: in a cascade, who is asked one after another until one is sure. gate: who is
    asked at once, to see whether they agree. stays: it is the conversation's expert that comes first, not the one with the best
    scores.
    """

    choices: tuple[Choice, ...]
    ranking: tuple[Choice, ...] = ()
    mu: float = 0.0
    reason: str = ""
    draw: str | None = None
    ties: tuple[str, ...] = ()
    explore: float = 0.0
    rungs: tuple[str, ...] = ()
    gate: tuple[str, ...] = ()
    stays: bool = False


def make_plan(
    options: Sequence[Option],
    settings: Settings,
    *,
    stay_with: str | None = None,
    tool_loop: bool = False,
    uniform: float = 1.0,
) -> Plan:
    """Rank `options` by utility; of equals, the conversation's expert and then the earlier one is first.

    A conversation stays with the expert in `stay_with` unless another gains more than `settings.stay`; in a tool loop it
    leaves only when that expert is no option any more, however long the wait. `uniform` is a draw from [0, 1): below
    `settings.explore` the plan explores, unless the conversation stays. Raises ValueError without options.
    """
    if not options:
        raise ValueError("a plan needs at least one option")
    choices = _ranked(options, settings, stay_with)
    if tool_loop and any(choice.expert == stay_with for choice in choices):
        return _staying(_raised(choices, str(stay_with)), mu=0.0)
    if choices[0].expert == stay_with:
        return _staying(choices, settings.mu)
    first = choices[0]
    reason = f"{first.expert} has the highest utility of {len(choices)}"
    if len(choices) == 1:
        reason = f"{first.expert} is the only feasible expert"
    plan = Plan(choices, choices, settings.mu, reason=reason)
    ties = tuple(c.expert for c in choices if c.utility >= first.utility - settings.near_tie)
    if not settings.explore or len(ties) < 2:
        return plan
    plan = replace(plan, ties=ties, explore=settings.explore)
    if uniform >= settings.explore:
        return plan
    draw = ties[int(uniform / settings.explore * len(ties))]
    return replace(plan, choices=_raised(choices, draw), draw=draw, reason=f"explored among {len(ties)} near-ties")


def bind(choices: Sequence[Choice], waits_s: Mapping[str, float], mu: float) -> str:
    """The expert with the highest `utility - mu * wait` now; the first of equals. An unknown wait is none.

    A wait may be infinite. With a mu of 0 waits don't matter at all.
    """
    if not mu:
        return max(choices, key=lambda c: c.utility).expert
    return max(choices, key=lambda c: c.utility - mu * waits_s.get(c.expert, 0.0)).expert


def forgone(choices: Sequence[Choice], waits_s: Mapping[str, float], bound: str) -> tuple[float, float]:
    """What binding `bound` rather than the best of `choices`, however long its wait, gives up in utility and saves in seconds.

    choices: best first. waits_s: as they were weighed, of those that could be bound; nobody else counts.
    """
    if choices[0].expert == bound:
        return 0.0, 0.0
    possible = [choice for choice in choices if choice.expert in waits_s or choice.expert == bound]
    utilities = {choice.expert: choice.utility for choice in possible}
    best = bind(possible, {}, 0.0)
    return utilities[best] - utilities[bound], waits_s.get(best, 0.0) - waits_s.get(bound, 0.0)


def propensity(plan: Plan, waits_s: Mapping[str, float], expert: str) -> float:
    """The probability with which `plan`'s policy binds `expert` under these waits: summed over every exploration draw.

    waits_s: of those that could be bound. After a failure they are fewer than the plan has, and the probability is that
    among them; `expert` itself could be bound in any case.
    """
    return propensities(plan, waits_s, expert)[expert]


def propensities(plan: Plan, waits_s: Mapping[str, float], bound: str) -> dict[str, float]:
    """`propensity` of each expert that could be bound, `bound` among them; 0 for those that the policy never would. Sums to 1."""
    candidates = tuple(c for c in plan.ranking or plan.choices if c.expert in waits_s or c.expert == bound)
    exploited = bind(candidates, waits_s, plan.mu)
    if not plan.ties:
        return {choice.expert: float(choice.expert == exploited) for choice in candidates}
    best = max(plan.ranking, key=lambda c: c.utility).utility
    drawn = Counter(bind(_raised(candidates, tie, best), waits_s, plan.mu) for tie in plan.ties)
    return {
        name: (1.0 - plan.explore) * (name == exploited) + plan.explore * drawn[name] / len(plan.ties)
        for name in (choice.expert for choice in candidates)
    }


def _ranked(options: Sequence[Option], settings: Settings, stay_with: str | None) -> tuple[Choice, ...]:
    """Options as choices, best first."""
    choices = []
    for option in options:
        reward = 0.0 if math.isnan(option.reward) else option.reward
        value = utility(reward, option.cost_cents, 0.0, settings.lambda_, settings.mu)
        choices.append(Choice(option.expert, value + settings.stay * (option.expert == stay_with)))
    return tuple(sorted(choices, key=lambda choice: (-choice.utility, choice.expert != stay_with)))


def _staying(choices: tuple[Choice, ...], mu: float) -> Plan:
    """A plan that does not explore, because the first of `choices` has the conversation."""
    return Plan(choices, choices, mu, reason=f"{choices[0].expert} already has this conversation", stays=True)


def _raised(choices: tuple[Choice, ...], expert: str, best: float | None = None) -> tuple[Choice, ...]:
    """The same choices with `expert`, if it is one, first, at the `best` utility there is."""
    if all(choice.expert != expert for choice in choices):
        return choices
    best = choices[0].utility if best is None else best
    return (Choice(expert, best), *(c for c in choices if c.expert != expert))
