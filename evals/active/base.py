"""What a sampler is: told the rewards that were paid for so far, it says what they prove, and what to pay for next.

    sampler = make_sampler("best_arm", Problem(3, groups, delta=0.05))         # evals/active/registry.py
    step = sampler.advance(rewards)                # rewards: (n_queries, n_experts), NaN where nothing was paid for
    step.pairs                                     # [[0, 17], [0, 4], [1, 17], [1, 4]]: expert, query; empty when done
    step.verdict.decided

A sampler may be stopped at any time, and what it said by then holds with confidence 1 - delta: its statements don't wear off with
looking at them often. Experts and queries are numbers here. Not here: who pays (`replaying.py`, `live.py`), words (`words.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray

Goal = Literal["best", "ranking", "best-by-group"]

Pairs = NDArray[np.intp]
"""`(n_pairs, 2)`: expert, query. Those of one expert follow one another, so that each is loaded once for them."""


@dataclass(frozen=True)
class Problem:
    """groups: `(n_queries,)`, the number of each query's group, 0 and up; the queries stand in random order, and are asked so.

    delta: how likely a wrong statement may be. finite: whether the statements are about these queries alone, as if every expert had
    been asked all of them, rather than about all queries like them; that takes fewer calls. batch: queries that an expert is
    asked at least before another is.
    """

    num_experts: int
    groups: NDArray[np.intp]
    delta: float = 0.05
    finite: bool = False
    batch: int = 8

    def members(self, group: int) -> NDArray[np.intp]:
        """The queries of a group, in their order."""
        return np.flatnonzero(self.groups == group)

    @property
    def num_groups(self) -> int:
        return int(self.groups.max(initial=-1)) + 1


@dataclass(frozen=True, slots=True)
class Crossing:
    """The expert `first` is better than `second` in the group `better_in`, and worse in `worse_in`."""

    first: int
    second: int
    better_in: int
    worse_in: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known. standing: the experts that may still be best, the one with the highest reward first; one tuple for all
    queries, or one a group under the goal best-by-group.

    ranking: all experts, best first, as far as is known, under the goal ranking. unsettled: pairs of it, the seemingly better one
    first, that could be the other way round. one_order: whether the ranking takes for granted that of two experts one is at least
    as good in every group. crossings: why a sampler that was asked for a ranking turned to the best expert of each group.
    """

    goal: Goal
    standing: tuple[tuple[int, ...], ...] = ()
    ranking: tuple[int, ...] = ()
    unsettled: tuple[tuple[int, int], ...] = ()
    one_order: bool = False
    crossings: tuple[Crossing, ...] = ()

    @property
    def decided(self) -> bool:
        return all(len(experts) == 1 for experts in self.standing) and not self.unsettled


@dataclass(frozen=True, slots=True)
class Step:
    """verdict: from what was paid for. pairs: what to pay for next, none of it paid for yet; empty when nothing more would help."""

    verdict: Verdict
    pairs: Pairs


class Sampler(Protocol):
    def advance(self, rewards: FloatArray) -> Step:
        """rewards: `(n_queries, n_experts)`, 0..1, with what the last step asked for; NaN where nobody was asked, or failed."""
        ...


def affordable(pairs: Pairs, num_calls: int) -> Pairs:
    """No more than so many of them: of the earliest queries, so that all experts are asked the same ones."""
    kept: Pairs = pairs[np.sort(np.argsort(pairs[:, 1], kind="stable")[:num_calls])]
    return kept


def as_pairs(cells: NDArray[np.bool_]) -> Pairs:
    """The true cells of `(n_queries, n_experts)`, expert by expert."""
    pairs: Pairs = np.argwhere(cells.T)
    return pairs
