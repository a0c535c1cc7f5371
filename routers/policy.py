"""From scores to a plan: the one place where reward, cost and wait are weighed. Pure: no I/O, no clock, no fleet.

    plan = make_plan([Option("small", 0.7, cost_cents=0.0), Option("large", 0.8, cost_cents=0.9)], Settings(lambda_=0.2))
    plan.choices[0].expert          # 'small': 0.7 - 0.2 * 0.0 > 0.8 - 0.2 * 0.9
    bind(plan, waits_s={"small": 30.0})

Serving and evals call the same functions. Exploration happens here and only among near-ties; `propensity` gives the exact
probability with which an expert was bound, given the scores and the waits at binding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Mode = Literal["one", "cascade", "panel"]
Number = TypeVar("Number", float, NDArray[np.float64])


def utility(reward: Number, cost_cents: Number, wait_s: Number, lambda_: float, mu: float) -> Number:
    """`reward - lambda * cost - mu * wait`; works on floats and on arrays of one shape.

    reward: 0..1. cost_cents: US cents. wait_s: seconds. lambda_: reward given up per US cent. mu: reward given up per second.
    """
    return reward - lambda_ * cost_cents - mu * wait_s


@dataclass(frozen=True, slots=True)
class Option:
    """A feasible expert as the policy sees it. reward: expected, 0..1."""

    expert: str
    reward: float
    cost_cents: float = 0.0


@dataclass(frozen=True, slots=True)
class Settings:
    """lambda_, mu: as in `utility`. explore: probability of exploring. near_tie: how far below the best a tie may lie.

    stay: reward given up rather than leave the session's expert.
    """

    lambda_: float = 0.0
    mu: float = 0.0
    explore: float = 0.0
    near_tie: float = 0.05
    stay: float = 0.15


@dataclass(frozen=True, slots=True)
class Choice:
    """An expert in the plan. utility: before waiting is priced."""

    expert: str
    utility: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Feasible experts, best first before waits, and why.

    ranking: the experts before exploration. draw: the one that exploration put first, if it did. ties: those it drew from.
    explore: the probability of drawing.
    """

    choices: tuple[Choice, ...]
    ranking: tuple[Choice, ...] = ()
    mu: float = 0.0
    mode: Mode = "one"
    aggregator: str | None = None
    reason: str = ""
    draw: str | None = None
    ties: tuple[str, ...] = ()
    explore: float = 0.0


def make_plan(
    options: Sequence[Option],
    settings: Settings,
    *,
    stay_with: str | None = None,
    tool_loop: bool = False,
    uniform: float = 1.0,
) -> Plan:
    """Rank `options` by utility. `uniform` is a draw from [0, 1): below `settings.explore`, it explores.

    A conversation stays with the expert in `stay_with` unless another gains more than `settings.stay`; in a tool loop it
    leaves only when that expert is no option any more. Raises ValueError without options.
    """
    if not options:
        raise ValueError("a plan needs at least one option")
    bonus = 1.0 + settings.stay if tool_loop else settings.stay
    choices = sorted(
        (
            Choice(
                o.expert,
                utility(o.reward, o.cost_cents, 0.0, settings.lambda_, settings.mu) + bonus * (o.expert == stay_with),
            )
            for o in options
        ),
        key=lambda choice: -choice.utility,
    )
    best = choices[0].utility
    staying = choices[0].expert == stay_with
    plan = Plan(
        tuple(choices), tuple(choices), mu=settings.mu, reason=_reason(choices[0].expert, staying, len(choices))
    )
    if not settings.explore or staying:
        return plan
    ties = tuple(c.expert for c in choices if c.utility >= best - settings.near_tie)
    plan = replace(plan, ties=ties, explore=settings.explore)
    if uniform >= settings.explore or len(ties) < 2:
        return plan
    draw = ties[int(uniform / settings.explore * len(ties))]
    return replace(plan, choices=_raised(plan.choices, draw), draw=draw, reason=f"explored among {len(ties)} near-ties")


def bind(choices: Sequence[Choice], waits_s: Mapping[str, float], mu: float) -> str:
    """The expert with the highest `utility - mu * wait` now; the first of equals."""
    return max(choices, key=lambda c: c.utility - mu * waits_s.get(c.expert, 0.0)).expert


def propensity(plan: Plan, waits_s: Mapping[str, float], expert: str) -> float:
    """The probability with which `plan`'s policy binds `expert` under these waits: summed over every exploration draw."""
    if not plan.explore or len(plan.ties) < 2:
        return 1.0
    exploit = (1.0 - plan.explore) * (bind(plan.ranking, waits_s, plan.mu) == expert)
    explored = sum(bind(_raised(plan.ranking, tie), waits_s, plan.mu) == expert for tie in plan.ties)
    return float(exploit + plan.explore * explored / len(plan.ties))


def _raised(choices: Sequence[Choice], expert: str) -> tuple[Choice, ...]:
    """The same choices with `expert` first, at the best utility there is."""
    best = choices[0].utility
    return (Choice(expert, best), *(c for c in choices if c.expert != expert))


def _reason(expert: str, staying: bool, count: int) -> str:
    if staying:
        return f"{expert} already has this conversation"
    return f"{expert} is the only feasible expert" if count == 1 else f"{expert} has the highest utility of {count}"
