"""How many experts a query takes: one where the router is sure, a few where it is not, others where these few disagree.

    depth = Depth(sure=0.8, top_p=0.4)
    asked = first_asked(expected, utilities, depth)             # (n, m): one expert of a row, or those of the gate
    is_settled(alike(conclusions), asked)                       # (n,): nobody else is asked
    found = choose_depth(expected, table, budget=2.0)           # found.depth, what it earns and how many calls it takes

Harder tasks need more experts (arXiv 2403.07652): as many are asked at once as it takes for their softmax shares to reach `top_p`.
Their agreement is the gate, as a cascade's by answer consistency (arXiv 2310.03094); where they don't agree, an arbiter joins a
vote that it can sway, or a panel is convened. The same functions decide in serving and replay recorded answers. Not here: asking
(`orchestrator/routing/deepening.py`), and the router.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from kernels.gating import gate as gated
from routers.base import FloatArray
from routers.cascade import threshold_curve
from routers.fusing.table import AnswerTable, BoolArray, Fused, Rows
from routers.fusing.voting import elect, log_odds, same_answers, support
from routers.policy import Plan

_Array = NDArray[np.float64]

TEMPERATURE = 0.1
"""Of the shares, in reward: an expert that is expected to earn this much less has a share 2.7 times smaller."""
COINCIDENCE = 0.3
"""How often two wrong answers are taken to be the same, where votes are weighed."""
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The `top_p` that are tried."""


@dataclass(frozen=True, slots=True)
class Depth:
    """sure: from which expected reward on the best expert answers alone. top_p: which share those asked at once have together.

    width: how many these are at most, at least 2.
    """

    sure: float = 0.8
    top_p: float = 0.4
    width: int = 5


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a depth came to on recorded answers, each `(n,)`. costs: in the table's unit; an unknown one counts as none."""

    rewards: FloatArray
    calls: FloatArray
    costs: FloatArray


@dataclass(frozen=True, slots=True)
class ChosenDepth:
    """A depth, and the means that it comes to on the queries it was chosen by."""

    depth: Depth
    reward: float
    calls: float


def deepen(plan: Plan, expected: Mapping[str, float], depth: Depth) -> Plan:
    """The plan with a gate, by the utilities in it, or without where its best expert answers alone. expected: rewards by expert."""
    names = [choice.expert for choice in plan.choices]
    rewards = np.array([[expected[name] for name in names]], dtype=np.float32)
    utilities = np.array([[choice.utility for choice in plan.choices]], dtype=np.float32)
    asked = first_asked(rewards, utilities, depth)[0]
    best = f"{names[0]} is expected to earn {expected[names[0]]:.2f}"
    if asked.sum() == 1:
        return replace(plan, reason=f"{plan.reason}; {best}, and answers alone")
    gate = tuple(name for name, is_asked in zip(names, asked, strict=True) if is_asked)
    return replace(plan, gate=gate, reason=f"{best}, less than {depth.sure:.2f}, so {len(gate)} are asked")


def first_asked(expected: FloatArray, utilities: FloatArray, depth: Depth) -> BoolArray:
    """`(n, m)`: who is asked first: the expert of most utility where it is sure, else at least two, the best of the gate.

    expected: rewards 0..1. utilities: the same less what experts cost; minus infinity for one that can't be asked.
    """
    rows, best = np.arange(len(utilities)), utilities.argmax(axis=1)
    asked: BoolArray = gated(utilities, TEMPERATURE, depth.width, depth.top_p) > 0
    asked |= gated(utilities, TEMPERATURE, 2) > 0
    alone = expected[rows, best] >= depth.sure
    asked[alone] = False
    asked[rows[alone], best[alone]] = True
    return asked


def is_settled(same: BoolArray, asked: BoolArray) -> BoolArray:
    """`(n,)`: whether nobody else need be asked: one was asked alone, or two or more are usable and all of those conclude alike.

    same: of `alike`.
    """
    speaks = asked & np.einsum("nii->ni", same)
    disagree = (~same & speaks[:, :, None] & speaks[:, None, :]).any(axis=(1, 2))
    settled: BoolArray = (asked.sum(axis=1) == 1) | (~disagree & (speaks.sum(axis=1) >= 2))
    return settled


def arbiters(expected: FloatArray, asked: BoolArray) -> Rows:
    """`(n,)`: the best of those that were not asked; minus infinity for one that can't be."""
    best: Rows = np.where(asked, -np.inf, expected).argmax(axis=1)
    return best


def stands(same: BoolArray, asked: BoolArray, expected: FloatArray) -> Rows:
    """`(n,)`: the expert whose answer is taken: the best one of those whose conclusion has most weight behind it."""
    return elect(same, asked, log_odds(expected, COINCIDENCE))


def can_sway(same: BoolArray, asked: BoolArray, arbiter: Rows, expected: FloatArray) -> BoolArray:
    """`(n,)`: whether what the arbiter concludes could change which answer stands."""
    rows, weights = np.arange(len(asked)), log_odds(expected, COINCIDENCE)
    winner, behind = elect(same, asked, weights), support(same, asked, weights)
    rival = np.where(same[rows, winner] | ~asked, np.float32(0.0), behind).max(axis=1)
    sways: BoolArray = rival + weights[rows, arbiter] >= behind[rows, winner]
    return sways


def replay(expected: FloatArray, table: AnswerTable, depth: Depth, *, panel: Sequence[int] = ()) -> Replayed:
    """What a depth would have come to on recorded answers, whatever they cost. expected: `(n, m)`, of the table's experts.

    panel: the columns of a panel that is convened instead of an arbiter; its answer is taken to be their weighted vote.
    """
    can_be_asked = _tried(expected, table)
    asked = first_asked(can_be_asked, can_be_asked, depth)
    same = same_answers(table)
    later = np.zeros_like(asked)
    if panel:
        later[:, list(panel)] = table.tried[:, list(panel)]
    else:
        arbiter = arbiters(can_be_asked, asked)
        later[np.arange(len(table)), arbiter] = can_sway(same, asked, arbiter, expected)
        later &= table.tried & ~asked
    later &= ~is_settled(same, asked).reshape(-1, 1)
    voters = np.where(later.any(axis=1, keepdims=True), later if panel else asked | later, asked)
    rewards = Fused(stands(same, voters, expected), voters).rewards(table)
    prices = np.nan_to_num(table.costs)
    calls, costs = (asked * 1.0 + later).sum(axis=1), (asked * prices + later * prices).sum(axis=1)
    return Replayed(rewards, calls.astype(np.float32), costs.astype(np.float32))


def choose_depth(
    expected: FloatArray,
    table: AnswerTable,
    *,
    quality: float | None = None,
    budget: float | None = None,
    panel: Sequence[int] = (),
) -> ChosenDepth:
    """The depth of fewest calls at a mean reward of `quality` or more, or of most reward at `budget` mean calls or fewer.

    expected: by a router that has not seen these queries. The rest: as of `replay`.
    Raises ValueError without queries, unless one of the two targets is given, and when it can't be met.
    """
    if not len(table):
        raise ValueError("no query to choose a depth by, expected at least one")
    if (quality is None) == (budget is None):
        raise ValueError("expected either a quality or a budget")
    sure, rewards, calls = _curves(expected, table, panel)
    feasible = rewards >= quality - 1e-9 if quality is not None else calls <= (budget or 0.0) + 1e-9
    if not feasible.any():
        best = f"a mean reward of {rewards.max():.4f}" if quality is not None else f"{calls.min():.4g} calls a query"
        raise ValueError(f"no depth meets the target: the best there is is {best}")
    first, then = (calls, -rewards) if quality is not None else (-rewards, calls)
    order = np.lexsort((np.where(feasible, then, np.inf).ravel(), np.where(feasible, first, np.inf).ravel()))
    share, place = np.unravel_index(order[0], rewards.shape)
    depth = Depth(float(sure[place]), SHARES[share])
    return ChosenDepth(depth, float(rewards[share, place]), float(calls[share, place]))


def _curves(expected: FloatArray, table: AnswerTable, panel: Sequence[int]) -> tuple[_Array, _Array, _Array]:
    """`sure` `(t,)`, and with it and each of `SHARES` the mean rewards and calls, `(len(SHARES), t)`."""
    confidence = _tried(expected, table).max(axis=1)
    alone = replay(expected, table, Depth(sure=0.0))
    curves = []
    for share in SHARES:
        deep = replay(expected, table, Depth(np.inf, share), panel=panel)
        curves.append(threshold_curve(confidence, alone.rewards, deep.rewards, alone.calls, deep.calls - alone.calls))
    sure, rewards, calls, _ = (np.stack(column) for column in zip(*curves, strict=True))
    return sure[0], rewards, calls


def _tried(expected: FloatArray, table: AnswerTable) -> FloatArray:
    """`expected`, minus infinity for those that were not tried."""
    return np.where(table.tried, expected, np.float32(-np.inf)).astype(np.float32)
