"""A fixed set of experts chosen greedily by mutual information with the truth (arXiv 2602.08003), and the most likely answer.

    InformedVote().fit(train).curve(test)          # the 1, 2, ... experts that together tell most

That paper is about statements that are true or false. Here a statement is "this is the answer", one for each different answer that
some expert gave to a query, and an expert's prediction is whether it gave that one. As there, the information between the truth
and the predictions of a set is estimated from counts, the set grows by the expert that adds most, and the answer is the most
likely one given all predictions. Our own: most patterns of ten experts are rare, so a pattern's share of true statements is drawn
towards what a logistic regression makes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from evals.fusion.subsets import first_in
from routers.base import FloatArray
from routers.fusing.table import AnswerTable, BoolArray, Fused, Rows
from routers.fusing.voting import elect, same_answers

PRIOR_STATEMENTS = 20.0
"""How many statements of a pattern the regression counts for."""


@dataclass(frozen=True, slots=True)
class Statements:
    """One per different answer to a query. rows: of the table. backers: `(n, m)`, who gave it. true: whether it earned a reward."""

    rows: Rows
    backers: BoolArray
    true: BoolArray

    @classmethod
    def of(cls, table: AnswerTable) -> Self:
        same = same_answers(table)
        is_first = np.einsum("nii->ni", same) & (same.argmax(axis=2) == np.arange(len(table.experts)))
        rows, firsts = np.nonzero(is_first)
        return cls(rows, same[rows, firsts], np.nan_to_num(table.rewards[rows, firsts]) >= 0.5)


@dataclass(frozen=True, slots=True)
class _Patterns:
    """How likely a statement is true given who of a set backs it, `(2 ** size,)`."""

    experts: Rows
    shares: FloatArray

    @classmethod
    def of(cls, statements: Statements, experts: Rows) -> Self:
        from sklearn.linear_model import LogisticRegression

        size = len(experts)
        counts = _counts(_codes(statements.backers, experts), statements.true, size)
        model = LogisticRegression().fit(statements.backers[:, experts], statements.true)
        bits = np.arange(2**size)[:, None] >> np.arange(size) & 1
        prior = model.predict_proba(bits.astype(np.bool_))[:, 1]
        shares = (counts[:, 1] + PRIOR_STATEMENTS * prior) / (counts.sum(axis=1) + PRIOR_STATEMENTS)
        return cls(experts, shares.astype(np.float32))

    def likelihood(self, statements: Statements) -> FloatArray:
        """`(n_statements,)`."""
        return self.shares[_codes(statements.backers, self.experts)]


class InformedVote:
    """The knob is how many experts are asked."""

    def fit(self, table: AnswerTable) -> Self:
        statements = Statements.of(table)
        self.order_ = informative_order(statements)
        sizes = range(1, len(self.order_) + 1)
        self.patterns_ = tuple(_Patterns.of(statements, self.order_[:size]) for size in sizes)
        return self

    def curve(self, table: AnswerTable) -> Sequence[Fused]:
        statements, same = Statements.of(table), same_answers(table)
        return [self._fused(patterns, statements, same) for patterns in self.patterns_]

    def _fused(self, patterns: _Patterns, statements: Statements, same: BoolArray) -> Fused:
        """The backers of the likeliest statement are given a weight that outvotes all others."""
        asked = first_in(self.order_, len(patterns.experts), same.shape[:2])
        likelihood = np.zeros(same.shape[:2], dtype=np.float32)
        rows, experts = np.nonzero(statements.backers)
        likelihood[statements.rows[rows], experts] = patterns.likelihood(statements)[rows]
        heaviest = np.where(asked, likelihood, -1.0).max(axis=1, keepdims=True)
        return Fused(elect(same, asked, (likelihood >= heaviest).astype(np.float32)), asked)


def informative_order(statements: Statements) -> Rows:
    """`(m,)`: every expert after those that together with it tell most of the truth."""
    chosen: list[int] = []
    while len(chosen) < statements.backers.shape[1]:
        left = (i for i in range(statements.backers.shape[1]) if i not in chosen)
        told = {i: information(statements, np.array([*chosen, i])) for i in left}
        chosen.append(max(told, key=lambda i: told[i]))
    return np.array(chosen, dtype=np.intp)


def information(statements: Statements, experts: Rows) -> float:
    """Mutual information in nats between the truth and who of these experts backs a statement, from counts."""
    joint = _counts(_codes(statements.backers, experts), statements.true, len(experts)) / len(statements.rows)
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())


def _codes(backers: BoolArray, experts: Rows) -> NDArray[np.intp]:
    """`(n_statements,)`: the pattern of these experts as a number, the first expert in its lowest bit."""
    codes: NDArray[np.intp] = backers[:, experts].astype(np.intp) @ (1 << np.arange(len(experts)))
    return codes


def _counts(codes: NDArray[np.intp], true: BoolArray, size: int) -> NDArray[np.float64]:
    """`(2 ** size, 2)`: statements by pattern, false and true."""
    return np.bincount(2 * codes + true, minlength=2 ** (size + 1)).reshape(-1, 2).astype(np.float64)
