"""How queries stand after some answers: what is believed then, and what a decision to stop or to ask on is made from.

    state = read_state(beliefs, evidence, reading, feasible, prefix(reading.order, feasible, 3))     # of n queries, after 3 calls
    played = play(beliefs, evidence, reading, table)                      # after 1, 2, ... calls, with what it would have earned

Not here: the decision (`stopping.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray
from routers.fusing.camps import Beliefs, Evidence, camp_rewards, shares
from routers.fusing.table import AnswerTable, BoolArray, Rows

FURTHEST = 8.0
"""Differences between scores beyond this are as good as this."""
NOBODY = -4.0
"""The log-odds of an expert that isn't there."""
NUM_FEATURES = 16


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of n queries before anybody is asked. strength: `(n, m)`. order: `(n, m)`, first to be asked first."""

    strength: FloatArray
    order: Rows

    def rows(self, index: Rows) -> Self:
        return type(self)(self.strength[index], self.order[index])


class State(NamedTuple):
    """After some calls. features: `(n, NUM_FEATURES)`. best: `(n,)`, the expert to believe, -1 where no answer is usable.

    shares: `(n, m)`, of the camps, at their first experts.
    """

    features: FloatArray
    best: Rows
    shares: FloatArray


def prefix(order: Rows, feasible: BoolArray, calls: NDArray[np.intp] | int) -> BoolArray:
    """`(n, m)`: the first so many experts of `order` `(n, m)` who are feasible. calls: `(n,)`, or one for all."""
    there = np.take_along_axis(feasible, order, axis=1)
    within = there & (there.cumsum(axis=1) <= np.reshape(calls, (-1, 1)))
    asked = np.zeros(order.shape, dtype=np.bool_)
    np.put_along_axis(asked, order, within, axis=1)
    return asked


def sequence(order: Rows, feasible: BoolArray) -> Rows:
    """`(n, m)`: the experts of `order` `(n, m)` who are feasible, in this order, then the others."""
    there = np.take_along_axis(feasible, order, axis=1)
    return np.take_along_axis(order, np.argsort(~there, axis=1, kind="stable"), axis=1)


def read_state(beliefs: Beliefs, evidence: Evidence, reading: Reading, feasible: BoolArray, asked: BoolArray) -> State:
    """feasible: `(n, m)`, who may be asked at all. asked: `(n, m)`, who was.

    The features: how far the first camp is ahead, in share, score and size; how many spoke, were silent, and differ; how strong the
    experts are, the next two of them, and those behind the first camp; whether it has a majority; calls; the doubt that is left.
    """
    strength = reading.strength
    scores = beliefs.scores(evidence, strength, asked)
    held = shares(scores)
    speaks = evidence.usable & asked
    best = np.where(speaks.any(axis=1), held.argmax(axis=1), -1)
    rows = np.arange(len(asked))
    behind = (evidence.same[rows, best] & speaks) & (best >= 0)[:, None]
    sizes = np.sort((evidence.same & speaks[:, :, None] & speaks[:, None, :]).sum(axis=2) * np.isfinite(scores), axis=1)
    ranked, ordered = np.sort(held, axis=1), np.sort(np.maximum(scores, -FURTHEST), axis=1)
    voices, next_two = speaks.sum(axis=1), _next(reading, feasible & ~asked)
    second, runner_up = (_second(values) for values in (ranked, sizes))
    columns = (
        ranked[:, -1],
        second,
        np.clip(ordered[:, -1] - _second(ordered), -FURTHEST, FURTHEST),
        behind.sum(axis=1),
        sizes[:, -1] - runner_up,
        voices,
        asked.sum(axis=1) - voices,
        np.isfinite(scores).sum(axis=1),
        strength.mean(axis=1),
        strength.max(axis=1),
        *next_two,
        (behind * strength).sum(axis=1),
        behind.sum(axis=1) > voices / 2,
        asked.sum(axis=1),
        np.log1p(50.0 * np.maximum(1.0 - ranked[:, -1], 1e-4)),
    )
    return State(np.stack(columns, axis=1).astype(np.float32), best, held)


@dataclass(frozen=True, slots=True)
class Played:
    """Queries after 1..m calls each. features: `(n, m, NUM_FEATURES)`. known: `(n, m)`, whether so many could be made.

    values: `(n, m)`, the share that all answers give to the answer believed then. rewards: `(n, m)`, what that earned.
    """

    features: FloatArray
    values: FloatArray
    rewards: FloatArray
    known: BoolArray

    @classmethod
    def empty(cls, n: int, m: int) -> Self:
        """To be filled a fold at a time."""
        values, rewards = (np.zeros((n, m), dtype=np.float32) for _ in range(2))
        return cls(np.zeros((n, m, NUM_FEATURES), dtype=np.float32), values, rewards, np.zeros((n, m), dtype=np.bool_))

    def put(self, rows: Rows, part: Self) -> None:
        """Fill in those of `rows`."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(part, field.name)


def play(beliefs: Beliefs, evidence: Evidence, reading: Reading, table: AnswerTable) -> Played:
    """All calls that were recorded, in the order of the reading."""
    num_queries, num_experts = table.tried.shape
    played = Played.empty(num_queries, num_experts)
    earned, rows = camp_rewards(evidence, table.rewards), np.arange(num_queries)
    final = shares(beliefs.scores(evidence, reading.strength, table.tried))
    final_of_each = np.einsum("nij,ni->nj", evidence.same, final)  # a camp's share stands at its first expert
    for call in range(num_experts):
        asked = prefix(reading.order, table.tried, call + 1)
        state = read_state(beliefs, evidence, reading, table.tried, asked)
        decided = state.best >= 0
        played.features[:, call] = state.features
        played.values[:, call] = np.where(decided, final_of_each[rows, state.best], 0.0)
        played.rewards[:, call] = np.where(decided, earned[rows, state.best], 0.0)
        played.known[:, call] = table.tried.sum(axis=1) > call
    return played


def play_unseen(
    beliefs: Sequence[Beliefs], evidence: Evidence, reading: Reading, table: AnswerTable, parts: Sequence[Rows]
) -> Played:
    """Each of `parts`, rows of all, by beliefs that have not seen it."""
    played = Played.empty(*table.rewards.shape)
    for believed, rows in zip(beliefs, parts, strict=True):
        played.put(rows, play(believed, evidence.rows(rows), reading.rows(rows), table.rows(rows)))
    return played


def _next(reading: Reading, left: BoolArray) -> Sequence[FloatArray]:
    """`(n,)` each: the strengths of the next two experts of the order."""
    there = np.take_along_axis(left, reading.order, axis=1)
    ranked = np.take_along_axis(reading.strength, reading.order, axis=1)
    place = there.cumsum(axis=1)
    return [np.where(there & (place == nth), ranked - NOBODY, 0.0).sum(axis=1) + NOBODY for nth in (1, 2)]


def _second(ranked: FloatArray) -> FloatArray:
    """The last but one column, 0 where there is none."""
    return ranked[:, -2] if ranked.shape[1] > 1 else np.zeros(len(ranked), dtype=ranked.dtype)
