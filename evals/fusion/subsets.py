"""Experts chosen before anybody is asked, then a vote: the best ones, and those that complement each other.

    TopVote(weighted=True).fit(train).curve(test)          # the best 1, 2, ... experts, votes weighted by log-odds
    TopVote(skill=skills.grouped).fit(train).curve(test)   # the best of each query's predicted group
    ComplementaryVote().fit(train).curve(test)

The knob is how many are asked. Not here: selection by mutual information (`evals/fusion/information.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray
from routers.fusing.skills import overall
from routers.fusing.table import AnswerTable, BoolArray, Fused, Rows
from routers.fusing.voting import coincidence, elect, log_odds, same_answers

Skill = Callable[[Sequence[str]], FloatArray]
"""Queries to expected rewards, `(n, m)`."""


class TopVote:
    """skill: what the best are told by; by default their mean reward in training. weighted: by log-odds, else one vote each."""

    def __init__(self, *, weighted: bool = True, skill: Skill | None = None) -> None:
        self.weighted = weighted
        self.skill = skill

    def fit(self, table: AnswerTable) -> Self:
        self.means_ = table.reward_table().means
        self.chance_ = coincidence(table)
        return self

    def curve(self, table: AnswerTable) -> tuple[Fused, ...]:
        skills = self.means_ if self.skill is None else self.skill(table.queries)
        order = np.argsort(-skills, axis=-1, kind="stable")
        weights = log_odds(skills, self.chance_) if self.weighted else _almost_equal(skills)
        return _votes(table, order, weights)


class ComplementaryVote:
    """Each expert is added for what it brings to those there already (Mixture of Complementary Agents, arXiv 2605.24048).

    As there, selection is greedy on labelled queries, and a set is worth what its aggregator makes of it, so that an expert counts
    for being right where the others together are wrong. The aggregator is a weighted vote: there it is a model that reads the
    answers, which recorded ones can't be put to. Of the paper's family of greedy algorithms this is plain forward selection;
    how the others save evaluations wasn't looked into, for here they cost nothing.
    """

    def fit(self, table: AnswerTable) -> Self:
        self.weights_ = log_odds(overall(table).right_if_usable[0], coincidence(table))
        self.order_ = complementary_order(table, self.weights_)
        return self

    def curve(self, table: AnswerTable) -> tuple[Fused, ...]:
        return _votes(table, self.order_, self.weights_)


def complementary_order(table: AnswerTable, weights: FloatArray) -> Rows:
    """`(m,)`: every expert after those to whose weighted vote it adds most reward."""
    same, chosen = same_answers(table), list[int]()
    asked = np.zeros(table.tried.shape, dtype=np.bool_)

    def worth(expert: int) -> float:
        asked[:, expert] = True
        earned = Fused(elect(same, asked, weights), asked).rewards(table).mean()
        asked[:, expert] = False
        return float(earned)

    while len(chosen) < len(table.experts):
        best = max((i for i in range(len(table.experts)) if i not in chosen), key=worth)
        chosen.append(best)
        asked[:, best] = True
    return np.array(chosen, dtype=np.intp)


def first_in(order: NDArray[np.intp], count: int, shape: tuple[int, int]) -> BoolArray:
    """`(n, m)`: the first `count` of an order `(m,)` or `(n, m)` of experts."""
    asked = np.zeros(shape, dtype=np.bool_)
    np.put_along_axis(asked, np.broadcast_to(order, shape)[:, :count], True, axis=1)
    return asked


def _votes(table: AnswerTable, order: NDArray[np.intp], weights: FloatArray) -> tuple[Fused, ...]:
    same = same_answers(table)
    sets = [first_in(order, count, table.tried.shape) for count in range(1, len(table.experts) + 1)]
    return tuple(Fused(elect(same, asked, weights), asked) for asked in sets)


def _almost_equal(skills: FloatArray) -> FloatArray:
    """A vote each; the better expert's breaks ties."""
    return (1.0 + 1e-3 * skills).astype(np.float32)
