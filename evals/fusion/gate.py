"""The agreement gate: experts answer one after another until enough of them agree; where they don't, an arbiter or a vote decides.

    AgreementGate().fit(train).curve(test)

With two experts and an arbiter it is the cascade by agreement of public boards; the pair and the arbiter that earn most in training
are used. With more, the knobs are how many must agree and how many are asked at most, and experts come by accuracy or by what
they add to the vote (`complementary_order`). Not here: which settings are used (`evals/fusion/matching.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Self

import numpy as np

from evals.fusion.subsets import complementary_order
from routers.fusing.skills import overall
from routers.fusing.table import AnswerTable, BoolArray, Fused, Rows
from routers.fusing.voting import coincidence, elect, log_odds, same_answers

MOST_AGREEING = 5


@dataclass(frozen=True, slots=True)
class Gate:
    """order: who is asked, first to last. agreeing: how many must. arbiter: whether the last one decides alone, else a vote."""

    order: tuple[int, ...]
    agreeing: int
    arbiter: bool = False

    def asked(self, same: BoolArray) -> BoolArray:
        """`(n, m)`: who is asked before enough agree."""
        asked, open_ = np.zeros(same.shape[:2], dtype=np.bool_), np.ones(len(same), dtype=np.bool_)
        for expert in self.order:
            asked[open_, expert] = True
            agreeing = (same & asked[:, None, :] & asked[:, :, None]).sum(axis=2).max(axis=1)
            open_ &= agreeing < self.agreeing
        return asked


class AgreementGate:
    def fit(self, table: AnswerTable) -> Self:
        self.weights_ = log_odds(overall(table).right_if_usable[0], coincidence(table))
        by_skill = np.argsort(-table.reward_table().means, kind="stable")
        self.gates_ = (
            Gate((int(by_skill[0]),), 1),
            *best_pairs(table),
            *_longer((by_skill, complementary_order(table, self.weights_))),
        )
        return self

    def curve(self, table: AnswerTable) -> tuple[Fused, ...]:
        same = same_answers(table)
        return tuple(self._fused(gate, same) for gate in self.gates_)

    def _fused(self, gate: Gate, same: BoolArray) -> Fused:
        asked = gate.asked(same)
        chosen = elect(same, asked, self.weights_)
        if gate.arbiter:
            last = gate.order[-1]
            chosen = np.where(asked[:, last] & same[:, last, last], last, chosen)
        return Fused(chosen, asked)


def best_pairs(table: AnswerTable) -> Iterator[Gate]:
    """For each expert as the arbiter, the pair before it that earns most."""
    same, rewards = same_answers(table), np.nan_to_num(table.rewards)
    m = len(table.experts)
    for arbiter in range(m):
        pairs = list(combinations([i for i in range(m) if i != arbiter], 2))
        earned = [np.where(same[:, i, j], rewards[:, i], rewards[:, arbiter]).mean() for i, j in pairs]
        if pairs:
            yield Gate((*pairs[int(np.argmax(earned))], arbiter), 2, arbiter=True)


def _longer(orders: tuple[Rows, ...]) -> Iterator[Gate]:
    """Every number that must agree, with every limit."""
    for order in orders:
        for agreeing in range(2, min(MOST_AGREEING, len(order) - 1) + 1):
            for most in range(agreeing + 1, len(order) + 1):
                yield Gate(tuple(order[:most].tolist()), agreeing)
