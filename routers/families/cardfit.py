"""How well a query fits what an expert says of itself: kernel regression over the texts of its card.

    fit = fit_cards(cards, encoder)
    queries = ["What is 18 * 21?"]
    fit.rewards(encoder.encode(queries), shapes(queries))       # (1, n_experts), 0.15 to 1

A card's description, skills and examples are that expert's texts. Ridge regression tells them from the other experts' texts and
from everyday queries (`routers/families/everyday.py`); its value for a query says how well the query fits, where 1 is how well the
expert's own texts fit when each is left out in turn. The kernel adds the likeness of meaning (cosine of the encoder's vectors) and
of shape (shares of digits, symbols and other scripts; length), so that examples teach both: nothing here knows what a sum is.
The expected reward lies between a prior and 1, by the fit. The prior says how general the expert is by its description, so a
specialist wins only where the query fits. Not here: what experts were seen to do (`routers/families/skillprofiles.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from routers.base import Encoder, ExpertCard, FloatArray
from routers.families.everyday import EVERYDAY, GENERALISTS, SPECIALISTS
from routers.families.learned import described

SPECIALIST_PRIOR = 0.15
GENERALIST_PRIOR = 0.5
GENERAL_FROM, GENERAL_TO = 0.5, 0.65
"""Where a description's likeness to those of generalists begins to count, and where it counts in full."""
RIDGE = 0.3
SHAPE_FEATURES = 5
SHAPE_SHARPNESS = 5.0
SHAPE_CHARACTERS = 2048
MIN_OWN_FIT = 0.5
"""Own texts that have nothing in common fit worse than this; the query's fit is then measured by this."""

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class CardFit:
    """Of cards and everyday queries: vectors `(n, dimensions)`, shapes `(n, SHAPE_FEATURES)`, are_queries `(n,)`.

    weights: `(n, n_experts)`. priors: `(n_experts,)`, the reward of an expert that a query doesn't fit at all.
    """

    vectors: _Array
    shapes: _Array
    are_queries: NDArray[np.bool_]
    weights: _Array
    priors: _Array

    def rewards(self, vectors: FloatArray, shapes: FloatArray) -> FloatArray:
        """Expected reward `(n_queries, n_experts)`, from the prior to 1, of queries with these vectors and shapes."""
        texts = _Texts(self.vectors, self.shapes, self.are_queries)
        asked = _Texts(vectors.astype(np.float64), shapes.astype(np.float64), np.ones(len(vectors), dtype=np.bool_))
        fit = np.clip(asked.likeness(texts) @ self.weights, 0.0, 1.0)
        rewards: FloatArray = (self.priors + (1.0 - self.priors) * fit).astype(np.float32)
        return rewards


def fit_cards(cards: Sequence[ExpertCard], encoder: Encoder) -> CardFit:
    """Encode the cards, and solve one small linear system per expert."""
    claims = [(column, text) for column, card in enumerate(cards) for text in _claims(card)]
    examples = [(column, text) for column, card in enumerate(cards) for text in card.examples]
    owners = np.array([column for column, _ in claims + examples] + [-1] * len(EVERYDAY))
    own = _read(encoder, [text for _, text in claims + examples], num_claims=len(claims))
    texts = own + _everyday(encoder)[0]
    kernel = texts.likeness(texts)
    weights = np.stack([_fitted(kernel, owners == column) for column in range(len(cards))], axis=1)
    priors = SPECIALIST_PRIOR + (GENERALIST_PRIOR - SPECIALIST_PRIOR) * _generality(cards, encoder)
    return CardFit(texts.vectors, texts.shapes, texts.are_queries, weights, priors)


@dataclass(frozen=True, slots=True)
class _Texts:
    """_Texts as vectors and shapes. A text describes an expert, or is a query or an example of one."""

    vectors: _Array
    shapes: _Array
    are_queries: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.vectors)

    def __add__(self, more: _Texts) -> _Texts:
        return _Texts(
            np.concatenate([self.vectors, more.vectors]),
            np.concatenate([self.shapes, more.shapes]),
            np.concatenate([self.are_queries, more.are_queries]),
        )

    def likeness(self, others: _Texts) -> _Array:
        """The kernel, `(len(self), len(others))`: cosine of meaning, a Gaussian of shape between queries, 1 as intercept."""
        squares = ((self.shapes[:, None] - others.shapes[None]) ** 2).sum(axis=2)
        shape = np.exp(-SHAPE_SHARPNESS * squares) * np.outer(self.are_queries, others.are_queries)
        kernel: _Array = self.vectors @ others.vectors.T + shape + 1.0
        return kernel


def _read(encoder: Encoder, texts: Sequence[str], num_claims: int = 0) -> _Texts:
    """The first `num_claims` texts describe experts."""
    vectors = encoder.encode(texts).astype(np.float64)
    return _Texts(vectors, shapes(texts).astype(np.float64), np.arange(len(texts)) >= num_claims)


@lru_cache(maxsize=1)
def _everyday(encoder: Encoder) -> tuple[_Texts, _Texts]:
    """What every fleet is compared with: queries, and descriptions. A service fits several routers, with one encoder."""
    described = (*GENERALISTS, *SPECIALISTS)
    return _read(encoder, EVERYDAY), _read(encoder, described, num_claims=len(described))


def _generality(cards: Sequence[ExpertCard], encoder: Encoder) -> _Array:
    """How general each expert is by its description and skills, 0..1; one that says nothing is in the middle."""
    texts = [described(card) for card in cards]
    known = _everyday(encoder)[1]
    weights, _ = _ridge(known.likeness(known), np.arange(len(known)) < len(GENERALISTS))
    values = _read(encoder, texts, num_claims=len(texts)).likeness(known) @ weights
    ramp = np.clip((values - GENERAL_FROM) / (GENERAL_TO - GENERAL_FROM), 0.0, 1.0)
    return np.where([bool(text) for text in texts], ramp, 0.5)


def _claims(card: ExpertCard) -> list[str]:
    """What the card says of the expert, in words that a query would not use."""
    return [text for text in (card.description, *card.skills) if text]


def shapes(texts: Sequence[str]) -> FloatArray:
    """What texts look like, `(len(texts), SHAPE_FEATURES)`."""
    return np.array([_shape(text) for text in texts], dtype=np.float32).reshape(len(texts), SHAPE_FEATURES)


def _shape(text: str) -> tuple[float, ...]:
    """Shares of digits, symbols and letters beyond ASCII among the characters, of numbers among the words, and the length."""
    words = text[:SHAPE_CHARACTERS].split()
    letters = "".join(words)
    count = max(1, len(letters))
    digits = sum(map(str.isdigit, letters)) / count
    symbols = sum(not c.isalnum() for c in letters) / count
    foreign = sum(c.isalpha() and not c.isascii() for c in letters) / count
    numbers = sum(word.strip(".,;:?!%$€£()").isdigit() for word in words) / max(1, len(words))
    return digits, symbols, foreign, numbers, 0.25 * float(np.log1p(len(words)))


def _fitted(kernel: _Array, own: NDArray[np.bool_]) -> _Array:
    """Weights of all texts for one expert, scaled so that what its `own` texts reach when left out counts as 1."""
    if not own.any():
        return np.zeros(len(kernel))
    weights, left_out = _ridge(kernel, own)
    weights /= min(max(float(left_out.mean()), MIN_OWN_FIT), 1.0)
    return weights


def _ridge(kernel: _Array, positive: NDArray[np.bool_]) -> tuple[_Array, _Array]:
    """Weights `a` that send `positive` texts towards 1 and the others towards 0, and the positives' leave-one-out values.

    Weighted kernel ridge regression, `a = (K + ridge / w)^-1 y`, where both sides weigh half of all. Left out, a text has the
    value `y - a / diag((K + ridge / w)^-1)` (Rasmussen and Williams 2006, equation 5.12).
    """
    count, columns = len(kernel), np.flatnonzero(positive)
    shares = np.where(positive, len(columns) / count, 1.0 - len(columns) / count)
    targets = np.column_stack([positive, np.eye(count)[:, columns]])
    solution = np.linalg.solve(kernel + np.diag(2.0 * RIDGE * shares), targets).astype(np.float64)
    weights, inverse = solution[:, 0], solution[columns, np.arange(1, len(columns) + 1)]
    return weights, 1.0 - weights[columns] / inverse
