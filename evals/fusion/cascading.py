"""Cascade routing (Dekoninck, Baader and Vechev, ICML 2025, arXiv 2410.10347) on recorded answers.

    CascadeRouting(skills).fit(train).curve(test)          # by falling price of a call

Before each call every supermodel, a set of experts that holds those asked so far, is worth the expected maximum of its experts'
qualities less a price for each call; the best one says whom to ask next, and when it is what was asked already, the answer of
highest quality is taken. Qualities are ex ante what a router expects and ex post what the answers' agreement says besides, and
are taken as normal around their estimates.

All calls have one price here, so the best supermodel of a size holds the experts of highest quality: these are looked at, no
others. The quality models are our own, as the paper leaves them open: logistic regressions on sets of experts drawn from the
training part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from evals.fusion.skills import Skills
from routers.base import FloatArray
from routers.fusing.table import AnswerTable, BoolArray, Fused
from routers.fusing.voting import coincidence, log_odds, same_answers, support, usable

PRICES = (1.0, 0.2, 0.12, 0.08, 0.06, 0.045, 0.035, 0.025, 0.018, 0.012, 0.008, 0.005, 0.003, 0.001, 0.0)
"""Quality given up per call."""
DRAWS = 2
"""Sets of experts drawn for each training query."""
JITTER = 0.15
"""Standard deviation that is added to expected rewards so that the sets drawn differ."""
GRID = 33
"""Points at which the distribution of a maximum is evaluated."""


@dataclass(frozen=True, slots=True)
class _Answers:
    """What is known of each query. expected: `(n, m)` ex ante. weights: of their votes."""

    same: BoolArray
    usable: BoolArray
    expected: FloatArray
    weights: FloatArray

    def rows(self, index: BoolArray) -> _Answers:
        return _Answers(self.same[index], self.usable[index], self.expected[index], self.weights[index])


class CascadeRouting:
    """skills: fitted on the same training part."""

    def __init__(self, skills: Skills) -> None:
        self.skills = skills

    def fit(self, table: AnswerTable) -> Self:
        from sklearn.linear_model import LogisticRegression

        self.chance_ = coincidence(table)
        answers, right = self._read(table), table.rewards >= 0.5
        sets = [_drawn(answers.expected, draw) for draw in range(DRAWS)]
        heard = [asked & answers.usable for asked in sets]
        after = [(_after(answers, asked)[spoke], right[spoke]) for asked, spoke in zip(sets, heard, strict=True)]
        self.after_ = LogisticRegression().fit(*_joined(after))
        before = [(_before(answers, asked, self._after(answers, asked))[~asked], right[~asked]) for asked in sets]
        self.before_ = LogisticRegression().fit(*_joined(before))
        self.spread_ = self._spread(answers)
        return self

    def curve(self, table: AnswerTable) -> tuple[Fused, ...]:
        answers = self._read(table)
        return tuple(self._fused(answers, price) for price in PRICES)

    def _read(self, table: AnswerTable) -> _Answers:
        expected = self.skills.routed(table.queries)
        return _Answers(same_answers(table), usable(table), expected, log_odds(expected, self.chance_))

    def _fused(self, answers: _Answers, price: float) -> Fused:
        asked = np.zeros_like(answers.usable)
        open_ = np.ones(len(asked), dtype=np.bool_)
        while open_.any():
            rows = np.flatnonzero(open_)
            next_ = self._next(answers.rows(open_), asked[open_], price)
            asked[rows[next_ >= 0], next_[next_ >= 0]] = True
            open_[rows[next_ < 0]] = False
        quality = np.where(asked, self._after(answers, asked), -1.0)
        return Fused(quality.argmax(axis=1), asked)

    def _next(self, answers: _Answers, asked: BoolArray, price: float) -> NDArray[np.intp]:
        """`(n,)`: whom to ask, -1 for nobody."""
        after = self._after(answers, asked)
        before = np.where(asked, -1.0, self._before(answers, asked, after))
        order = np.argsort(-before, axis=1, kind="stable")
        sizes = np.arange(asked.shape[1] + 1)
        worth = self._maxima(after, np.take_along_axis(before, order, axis=1), asked.sum(axis=1)) - price * sizes
        worth = np.where(sizes <= (~asked).sum(axis=1)[:, None], worth, -np.inf)
        worth[~asked.any(axis=1), 0] = -np.inf
        return np.where(worth.argmax(axis=1) > 0, order[:, 0], -1)

    def _maxima(self, after: FloatArray, before: FloatArray, num_asked: NDArray[np.intp]) -> NDArray[np.float64]:
        """`(n, m + 1)`: expected quality of the best answer with 0, 1, ... more experts, in the order of `before`.

        after: of those asked, 0 elsewhere. `best + integral from best to 1 of P(one of them is above x) dx`.
        """
        from scipy.special import ndtr

        best = after.max(axis=1)
        points = best[:, None] + (1.0 - best)[:, None] * np.linspace(0.0, 1.0, GRID)
        spread = self.spread_[num_asked][:, None, None]
        below = np.cumprod(ndtr((points[:, None, :] - before[:, :, None]) / spread), axis=1)
        gains = (1.0 - below).mean(axis=2) * (1.0 - best)[:, None]
        return np.concatenate([best[:, None], best[:, None] + gains], axis=1)

    def _after(self, answers: _Answers, asked: BoolArray) -> FloatArray:
        """`(n, m)`: quality ex post of those asked; 0 for the others and for answers that are unusable."""
        quality = self.after_.predict_proba(_flat(_after(answers, asked)))[:, 1].reshape(asked.shape)
        return np.where(asked & answers.usable, quality, 0.0).astype(np.float32)

    def _before(self, answers: _Answers, asked: BoolArray, after: FloatArray) -> FloatArray:
        """`(n, m)`: quality of those not asked yet, what others said considered."""
        quality = self.before_.predict_proba(_flat(_before(answers, asked, after)))[:, 1].reshape(asked.shape)
        return np.where(asked.any(axis=1, keepdims=True), quality, answers.expected).astype(np.float32)

    def _spread(self, answers: _Answers) -> FloatArray:
        """`(m + 1,)`: standard deviation of the next expert's quality ex post around ex ante, by how many were asked before."""
        m = answers.expected.shape[1]
        order = np.argsort(-answers.expected, axis=1, kind="stable")
        asked, spread = np.zeros_like(answers.usable), np.zeros(m + 1, dtype=np.float32)
        for count in range(m):
            before = self._before(answers, asked, self._after(answers, asked))
            rows, next_ = np.arange(len(asked)), order[:, count]
            asked[rows, next_] = True
            spread[count] = (self._after(answers, asked) - before)[rows, next_].std()
        spread[m] = spread[m - 1]
        return np.maximum(spread, np.float32(1e-3))


def _drawn(expected: FloatArray, seed: int) -> BoolArray:
    """`(n, m)`: the best expected of each query, roughly, as many as a die says but not all."""
    dice = np.random.default_rng(seed)
    order = np.argsort(-(expected + JITTER * dice.standard_normal(expected.shape)), axis=1)
    counts = dice.integers(1, expected.shape[1], size=len(expected))
    asked = np.zeros(expected.shape, dtype=np.bool_)
    np.put_along_axis(asked, order, np.arange(expected.shape[1]) < counts[:, None], axis=1)
    return asked


def _after(answers: _Answers, asked: BoolArray) -> FloatArray:
    """Features `(n, m, 4)` of an answer, all weights: its expert, others who agree, all who disagree, their largest camp."""
    heard = asked & answers.usable
    behind = support(answers.same, heard, answers.weights)
    total = np.where(heard, answers.weights, 0.0).sum(axis=1, keepdims=True)
    rival = np.where(answers.same | ~heard[:, None, :], 0.0, behind[:, None, :]).max(axis=2)
    features = np.stack([answers.weights, behind - answers.weights, total - behind, rival], axis=2)
    return features.astype(np.float32)


def _before(answers: _Answers, asked: BoolArray, after: FloatArray) -> FloatArray:
    """Features `(n, m, 4)` of an expert to come: its weight, the best quality so far, the weight of those whose answers
    are usable, and the number of answers that are not.
    """
    best = after.max(axis=1, keepdims=True)
    heard = np.where(asked & answers.usable, answers.weights, 0.0).sum(axis=1, keepdims=True)
    failed = (asked & ~answers.usable).sum(axis=1, keepdims=True)
    shared = [np.broadcast_to(column, asked.shape) for column in (best, heard, failed)]
    return np.stack([answers.weights, *shared], axis=2).astype(np.float32)


def _flat(features: FloatArray) -> FloatArray:
    return features.reshape(-1, features.shape[-1])


def _joined(parts: list[tuple[FloatArray, BoolArray]]) -> tuple[FloatArray, BoolArray]:
    return np.concatenate([features for features, _ in parts]), np.concatenate([right for _, right in parts])
