"""Which answer to believe, given who said it, what is expected of them on this query, and who agrees: a learned vote.

    evidence = Evidence.of(table.answers, table.texts)
    beliefs = fit_beliefs([(evidence, asked)], expected.strength, rewards)
    beliefs(evidence, strength, asked)          # (n, m): P(the expert's camp is right, if any is), 0 beyond a camp's first expert

Experts who conclude the same are a camp. A camp's score is linear in its experts' weights, each of which may depend on what is
expected of the expert and of all experts on the query, in its size, in how its text resembles the others (token F1, as of SQuAD:
Rajpurkar et al. 2016), and in how long it is; shares are a softmax over the query's camps (conditional logit: McFadden 1974), after
Fusing Models with Complementary Expertise (Wang et al. 2024, arXiv 2310.01542), which fuses by a network. Not here: who is asked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray
from routers.fusing.table import BoolArray, ObjectArray, Rows
from routers.fusing.voting import alike
from routers.parts.network import Parameters, minimise

PENALTY = 60.0
"""Of half the squared weights, in queries."""
MAX_TOKENS = 400
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What answers to n queries have in common. same: `(n, m, m)`, False where either is unusable.

    likeness: `(n, m, m)`, token F1 of the texts. length: `(n, m)`, logarithm of their characters.
    """

    same: BoolArray
    likeness: FloatArray
    length: FloatArray

    @classmethod
    def of(cls, answers: ObjectArray, texts: ObjectArray) -> Self:
        """answers: conclusions `(n, m)`, None where unusable or unknown. texts: as they were written."""
        said = [
            [None if answer is None else str(text) for answer, text in zip(*row, strict=True)]
            for row in zip(answers.tolist(), texts.tolist(), strict=True)
        ]
        lengths = [[0.0 if text is None else np.log1p(len(text)) for text in row] for row in said]
        likeness = np.stack([_likeness(row) for row in said])
        return cls(alike(answers), likeness, np.array(lengths, dtype=np.float32))

    @property
    def usable(self) -> BoolArray:
        """`(n, m)`."""
        found: BoolArray = np.einsum("nii->ni", self.same)
        return found

    def rows(self, index: Rows) -> Self:
        return type(self)(self.same[index], self.likeness[index], self.length[index])


@dataclass(frozen=True, slots=True)
class Camps:
    """Those of all queries, one after another. row: `(k,)`, the query. first: `(k,)`, the expert whose answer stands for it.

    members: `(k, m)`. features: `(k, n_features)`.
    """

    row: Rows
    first: Rows
    members: BoolArray
    features: FloatArray

    @classmethod
    def of(cls, evidence: Evidence, strength: FloatArray, asked: BoolArray) -> Self:
        """strength: `(n, m)`, log-odds that a usable answer of the expert is right. Answers that were not asked for don't count."""
        speaks = evidence.usable & asked
        same = evidence.same & speaks[:, :, None] & speaks[:, None, :]
        opens = speaks & ~np.tril(same, -1).any(axis=2)
        row, first = np.nonzero(opens)
        members = same[row, first]
        features = _features(evidence, strength, speaks, row, first, members)
        return cls(row, first, members, features)


@dataclass(frozen=True, slots=True)
class Beliefs:
    """weights: `(n_features,)` of a camp's score."""

    weights: FloatArray

    def scores(self, evidence: Evidence, strength: FloatArray, asked: BoolArray) -> FloatArray:
        """`(n, m)`: of the camp that the expert is first in, -inf elsewhere."""
        camps = Camps.of(evidence, strength, asked)
        scores = np.full(asked.shape, -np.inf, dtype=np.float32)
        scores[camps.row, camps.first] = camps.features @ self.weights
        return scores


def shares(scores: FloatArray) -> FloatArray:
    """Softmax in each row, all 0 where there is no camp."""
    highest = scores.max(axis=1, keepdims=True)
    powers = np.exp(scores - np.where(np.isfinite(highest), highest, 0.0))
    found: FloatArray = powers / np.maximum(powers.sum(axis=1, keepdims=True), 1e-30)
    return found


def camp_rewards(evidence: Evidence, rewards: FloatArray) -> FloatArray:
    """`(n, m)`: the mean reward of all who concluded what the expert did; 0 for an unusable answer."""
    sizes = np.maximum(evidence.same.sum(axis=2), 1)
    means: FloatArray = np.einsum("nij,nj->ni", evidence.same, np.nan_to_num(rewards)) / sizes
    return means.astype(np.float32)


def fit_beliefs(evidence: Evidence, strength: FloatArray, rewards: FloatArray, masks: Sequence[BoolArray]) -> Beliefs:
    """rewards: `(n, m)`. masks: `(n, m)` each, who was asked; every query is learned from once with each of them."""
    values = camp_rewards(evidence, rewards)
    parts = [Camps.of(evidence, strength, asked) for asked in masks]
    features = np.vstack([camps.features for camps in parts])
    targets = np.concatenate([values[camps.row, camps.first] for camps in parts])
    query = np.concatenate([camps.row + i * len(values) for i, camps in enumerate(parts)])
    totals = np.bincount(query, targets, minlength=len(masks) * len(values))
    taught = totals[query] > 0
    if not taught.any():
        return Beliefs(np.zeros(features.shape[1], dtype=np.float32))
    wanted = (targets[taught] / totals[query[taught]]).astype(np.float32)
    # Several masks of one query are not as many queries.
    loss = _Softmax(features[taught], wanted, query[taught], 1.0 / np.sqrt(len(masks)))
    (weights,) = minimise(loss, (np.zeros(features.shape[1], dtype=np.float32),))
    return Beliefs(weights)


class _Softmax:
    """Cross-entropy of the shares of each query's camps, and its gradient, with a penalty."""

    def __init__(self, features: FloatArray, wanted: FloatArray, query: NDArray[np.intp], weight: float) -> None:
        self.features, self.wanted, self.weight = features, wanted, weight
        self.starts = np.flatnonzero(np.r_[True, np.diff(query) != 0])
        self.place = np.cumsum(np.r_[False, np.diff(query) != 0])

    def __call__(self, parameters: Parameters) -> tuple[float, Parameters]:
        (weights,) = parameters
        scores = self.features @ weights
        scores -= np.maximum.reduceat(scores, self.starts)[self.place]
        powers = np.exp(scores)
        totals = np.add.reduceat(powers, self.starts)[self.place]
        value = -self.weight * float(self.wanted @ (scores - np.log(totals)))
        slope = self.features.T @ (np.float32(self.weight) * (powers / totals - self.wanted))
        return value + 0.5 * PENALTY * float(weights @ weights), (slope + np.float32(PENALTY) * weights,)


def _features(
    evidence: Evidence, strength: FloatArray, speaks: BoolArray, row: Rows, first: Rows, members: BoolArray
) -> FloatArray:
    """`(k, 4 * m + 6)`: members, their strengths, the query's level in their places, sizes; sums, shares, resemblance, length."""
    size, voices = members.sum(axis=1), speaks.sum(axis=1)[row]
    own = members * strength[row]
    level = strength.mean(axis=1)[row, None]
    others = speaks[row] & ~members
    resembles = (evidence.likeness[row, first] * others).sum(axis=1) / np.maximum(others.sum(axis=1), 1)
    mean_length = (evidence.length * speaks).sum(axis=1)[row] / np.maximum(voices, 1)
    columns = (
        own.sum(axis=1),
        own.sum(axis=1) - size * level[:, 0],
        size / np.maximum(voices, 1),
        size**2 / np.maximum(voices, 1),
        resembles,
        evidence.length[row, first] - mean_length,
    )
    sizes = size[:, None] == np.arange(1, members.shape[1] + 1)
    return np.hstack([members, own, members * level, sizes, np.stack(columns, axis=1)]).astype(np.float32)


def _likeness(texts: Sequence[str | None]) -> FloatArray:
    """Token F1 of each two, 0 where either is None and 1 with itself."""
    found = np.zeros((len(texts), len(texts)), dtype=np.float32)
    counts = [None if text is None else Counter(_TOKEN.findall(text.casefold())[:MAX_TOKENS]) for text in texts]
    for i, one in enumerate(counts):
        for j, other in enumerate(counts[:i]):
            if one is not None and other is not None:
                shared = 1.0 if texts[i] == texts[j] else _f1(one, other)
                found[i, j] = found[j, i] = shared
    return found


def _f1(one: Counter[str], other: Counter[str]) -> float:
    return 2.0 * (one & other).total() / max(1, one.total() + other.total())
