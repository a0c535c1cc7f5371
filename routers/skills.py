"""The router that needs no training: what experts say of themselves, compared with the query by a text encoder.

    router = SkillsRouter(experts=cards, encoder=encoder).fit()
    router.predict(["What is 17 * 23?", "Tell me a joke"])      # columns (smollm2, calculator): [[0.5, 0.9], [0.5, 0.2]]

Experts are recruited by skill as in Symbolic-MoE (arXiv 2503.05641), but without asking a model which skills a query needs:

- A card's description, skills and examples are that expert's texts. Kernel ridge regression tells them from the other
  experts' texts and from everyday queries (`routers/everyday.py`), both sides weighing the same; its value for a query, 0..1,
  is how well the query **fits** the expert.
- The kernel adds the likeness of meaning (cosine of the encoder's vectors) and of shape (share of digits, symbols, other
  scripts; length), so that examples teach both: nothing here knows what a sum is.
- The expected reward lies between a prior and 1, by the fit. The prior says how general the expert is by its description, so
  a specialist wins only where the query fits.

It knows nothing of how good experts are: two generalists come out alike, and price and wait decide. `fit` ignores outcomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from routers.base import Encoder, ExpertCard, FloatArray, Outcome
from routers.everyday import EVERYDAY, GENERALISTS, SPECIALISTS

SPECIALIST_PRIOR = 0.2
GENERALIST_PRIOR = 0.5
GENERAL_FROM_TO = (0.4, 0.65)
RIDGE = 0.3
SHAPE_SHARPNESS = 5.0
SHAPE_CHARACTERS = 2048

_Array = NDArray[np.float64]


class SkillsRouter:
    """Expected reward by similarity to the experts' cards. Deterministic; costs one encoding per query."""

    needs_encoder = True
    experts_: tuple[str, ...]

    def __init__(self, *, experts: Sequence[ExpertCard], encoder: Encoder) -> None:
        self.experts = experts
        self.encoder = encoder

    def fit(self, outcomes: Sequence[Outcome] = ()) -> Self:
        """Encode the cards and solve one small linear system per expert: under a second for a hundred experts."""
        own = [_card_texts(card) for card in self.experts]
        texts = [text for texts in own for text in texts] + list(EVERYDAY)
        owners = np.repeat(np.arange(len(own) + 1), [*map(len, own), len(EVERYDAY)])
        self.texts_ = _Texts(self.encoder, texts)
        kernel = self.texts_.likeness(self.texts_)
        self.weights_ = np.stack([_ridge(kernel, owners == column) for column in range(len(own))], axis=1)
        self.priors_ = SPECIALIST_PRIOR + (GENERALIST_PRIOR - SPECIALIST_PRIOR) * self._generality()
        self.experts_ = tuple(card.name for card in self.experts)
        return self

    def predict(self, queries: Sequence[str]) -> FloatArray:
        """Shape `(len(queries), len(experts_))`, 0..1."""
        fit = _Texts(self.encoder, queries).likeness(self.texts_) @ self.weights_
        return (self.priors_ + (1.0 - self.priors_) * np.clip(fit, 0.0, 1.0)).astype(np.float32)

    def _generality(self) -> _Array:
        """How general each expert is by its description and skills, 0..1; one that says nothing is in the middle."""
        described = [". ".join(filter(None, (card.description, ", ".join(card.skills)))) for card in self.experts]
        known = _Texts(self.encoder, [*GENERALISTS, *SPECIALISTS])
        weights = _ridge(known.likeness(known), np.arange(len(known)) < len(GENERALISTS))
        values = _Texts(self.encoder, described).likeness(known) @ weights
        low, high = GENERAL_FROM_TO
        return np.where([bool(text) for text in described], np.clip((values - low) / (high - low), 0.0, 1.0), 0.5)


class _Texts:
    """Texts as their vectors and shapes."""

    def __init__(self, encoder: Encoder, texts: Sequence[str]) -> None:
        self.vectors = encoder.encode(texts).astype(np.float64)
        self.shapes = np.array([_shape(text) for text in texts], dtype=np.float64).reshape(len(texts), -1)

    def __len__(self) -> int:
        return len(self.vectors)

    def likeness(self, others: _Texts) -> _Array:
        """The kernel, shape `(len(self), len(others))`: cosine of meaning, plus a Gaussian of shape, plus 1 as the bias."""
        distances = ((self.shapes[:, None] - others.shapes[None]) ** 2).sum(axis=2)
        kernel: _Array = self.vectors @ others.vectors.T + np.exp(-SHAPE_SHARPNESS * distances) + 1.0
        return kernel


def _card_texts(card: ExpertCard) -> list[str]:
    return [text for text in (card.description, *card.skills, *card.examples) if text]


def _shape(text: str) -> tuple[float, ...]:
    """Shares of digits, symbols and letters beyond ASCII among the characters, of numbers among the words, and the length."""
    words = text[:SHAPE_CHARACTERS].split()
    letters = "".join(words)
    count = max(1, len(letters))
    digits = sum(map(str.isdigit, letters)) / count
    symbols = 1.0 - sum(map(str.isalnum, letters)) / count
    foreign = sum(c.isalpha() and not c.isascii() for c in letters) / count
    numbers = sum(word.strip(".,;:?!%$€£()").isdigit() for word in words) / max(1, len(words))
    return digits, symbols, foreign, numbers, 0.25 * float(np.log1p(len(words)))


def _ridge(kernel: _Array, positive: NDArray[np.bool_]) -> _Array:
    """Weights of the texts behind `kernel`'s columns, which send `positive` ones towards 1 and the others towards 0.

    Weighted kernel ridge regression: `(K + ridge / w) a = y`, where both sides weigh half of all. No positive: all 0.
    """
    if not positive.any():
        return np.zeros(len(kernel))
    share = np.where(positive, positive.mean(), 1.0 - positive.mean())
    solution: _Array = np.linalg.solve(kernel + np.diag(RIDGE * 2.0 * share), positive.astype(np.float64))
    return solution
