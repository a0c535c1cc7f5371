"""One call, and another only while the answer is unusable: the experts in a fixed order, or in that of a router.

    Retry().fit(train).curve(test)                      # at most 1, 2, ... calls, the best expert first
    Retry(skill=skills.routed).fit(train).curve(test)   # the best expected first: with one call, plain routing

Not here: any use of what a usable answer says.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from evals.fusion.subsets import Skill
from routers.fusing.table import AnswerTable, BoolArray, Fused
from routers.fusing.voting import usable


class Retry:
    """skill: what experts are ordered by; by default their mean reward in training."""

    def __init__(self, *, skill: Skill | None = None) -> None:
        self.skill = skill

    def fit(self, table: AnswerTable) -> Self:
        self.means_ = table.reward_table().means
        return self

    def curve(self, table: AnswerTable) -> tuple[Fused, ...]:
        skills = np.broadcast_to(self.means_, table.tried.shape) if self.skill is None else self.skill(table.queries)
        order = np.argsort(-skills, axis=1, kind="stable")
        speaks = np.take_along_axis(usable(table), order, axis=1)
        return tuple(self._fused(order, speaks, count) for count in range(1, order.shape[1] + 1))

    def _fused(self, order: np.ndarray[tuple[int, ...], np.dtype[np.intp]], speaks: BoolArray, count: int) -> Fused:
        """The first usable answer of `count`, else the first answer."""
        within = speaks[:, :count]
        place = within.argmax(axis=1)
        calls = np.where(within.any(axis=1), place + 1, count)
        asked = np.zeros(order.shape, dtype=np.bool_)
        np.put_along_axis(asked, order, np.arange(order.shape[1]) < calls[:, None], axis=1)
        return Fused(order[np.arange(len(order)), place], asked)
