"""The router that needs no training, and learns when it can: what experts say of themselves, and what they were seen to be good at.

    router = SkillsRouter(experts=cards, encoder=encoder).fit()
    router.predict(["What is 18 * 21?", "Tell me a joke"])      # columns (smollm2, calculator): [[0.66, 1.0], [0.79, 0.15]]
    router.fit(outcomes)                                        # the same experts, with their strengths by skill

Experts are recruited by skill as in Symbolic-MoE (arXiv 2503.05641). Without outcomes nobody is asked which skills a query needs:
expected reward is how well the query fits the card (`routers/families/cardfit.py`), which knows nothing of how good experts are.
Then two generalists come out alike, and price and wait decide. With outcomes, a query's skills are the nearest of a vocabulary
(declared by the cards, the outcomes' groups, or mined), or what a `tagger` says; the expected reward is the expert's mean on
these skills (`skillprofiles.py`). Each expert is judged by its card as long as it has few outcomes: a card counts as
`CARD_ROWS` of them, and means as many rewards as cards were seen to mean. How many experts are recruited, and who
combines their answers: `recruiting.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field

from routers.base import Encoder, ExpertCard, FloatArray, Outcome
from routers.data.table import RewardTable
from routers.families.cardfit import SHAPE_FEATURES, CardFit, fit_cards, shapes
from routers.families.skillprofiles import (
    Profile,
    Vocabulary,
    declared_skills,
    fit_profile,
    frequent_keywords,
    no_skills,
    seen_skills,
)
from routers.parts.calibration import RewardScale, fit_scale
from routers.parts.tags import given_tags, mined_tags

CARD_ROWS = 20.0
"""How many outcomes of an expert its card counts for."""
MINED, ROWS_PER_SKILL = 16, 20
"""How many skills are mined, and of how many queries at least each on average."""

Tagger = Callable[[Sequence[str]], Sequence[Sequence[str]]]
"""Queries to the skills that each needs, in words of its own; none where it doesn't know."""


class SkillsRouter:
    """Expected reward by skills. Deterministic; costs one encoding per query, and a call of the tagger where there is one.

    experts: by default those of the outcomes. vocabulary: `seen` is the groups where every outcome has one, and mined otherwise.
    keywords: how many skills a query has. sharpness: of the softmax over them. pseudo_rows: how many rows an expert's overall mean
    counts for in each skill. tagger: says which skills a query needs, in training and later; its vocabulary is its own.
    """

    type = "skills"
    needs_encoder = True
    experts_: tuple[str, ...]
    cards_: CardFit
    vocabulary_: Vocabulary
    profile_: Profile
    scale_: RewardScale
    """Of the fit to cards, in rewards."""
    rows_: int
    """How many queries `scale_` was learned from."""

    def __init__(
        self,
        *,
        experts: Sequence[ExpertCard] = (),
        encoder: Encoder,
        vocabulary: Literal["declared", "seen"] = "seen",
        keywords: Annotated[int, Field(ge=1)] = 5,
        sharpness: Annotated[float, Field(gt=0)] = 40.0,
        pseudo_rows: Annotated[float, Field(gt=0)] = 20.0,
        seed: int = 0,
        tagger: Tagger | None = None,
    ) -> None:
        self.experts = experts
        self.encoder = encoder
        self.vocabulary = vocabulary
        self.keywords = keywords
        self.sharpness = sharpness
        self.pseudo_rows = pseudo_rows
        self.seed = seed
        self.tagger = tagger

    def fit(self, outcomes: Sequence[Outcome] = ()) -> Self:
        """Encode the cards and solve one small linear system per expert; then learn from outcomes, if there are any.

        Raises ValueError without any expert, and for a reward that is no number from 0 to 1.
        """
        table = RewardTable.of(outcomes, [card.name for card in self.experts] or None)
        return self.fit_encoded(table, self.encode(table.queries))

    def fit_encoded(self, table: RewardTable, vectors: FloatArray) -> Self:
        """`fit` with what `encode` makes of the table's queries at hand, for the table's experts."""
        if not table.experts:
            raise ValueError("a router of type 'skills' needs experts, or outcomes of some")
        self.experts_ = table.experts
        self.cards_ = fit_cards(self._declared(table.experts), self.encoder)
        dimensions = self.encoder.dimensions
        self.vocabulary_, self.profile_ = no_skills(dimensions, len(table.experts))
        self.scale_, self.rows_ = RewardScale(np.zeros(dimensions, dtype=np.float32), 0.0, 1.0), 0
        if len(table):
            self._learn(table, vectors)
        return self

    def encode(self, queries: Sequence[str], reader: Encoder | None = None) -> FloatArray:
        """Meaning and shape of each query, `(n_queries, dimensions)`. reader: a cache of the encoder."""
        return np.hstack([(reader or self.encoder).encode(queries), shapes(queries)])

    @property
    def dimensions(self) -> int:
        """Of what `encode` returns."""
        return self.encoder.dimensions + SHAPE_FEATURES

    def predict(self, queries: Sequence[str]) -> FloatArray:
        """Shape `(len(queries), len(experts_))`, 0..1."""
        return self._predict(self.encode(queries), self._named(queries) if self.rows_ else ())

    def predict_encoded(self, vectors: FloatArray) -> FloatArray:
        """`predict` with what `encode` makes of the queries at hand, and without the tagger, which reads words."""
        return self._predict(vectors, ())

    def _predict(self, vectors: FloatArray, named: Sequence[Sequence[str]]) -> FloatArray:
        meaning = vectors[:, :-SHAPE_FEATURES]
        by_card = self.cards_.rewards(meaning, vectors[:, -SHAPE_FEATURES:])
        if not self.rows_ or not len(vectors):
            return by_card
        scaled = self.scale_(meaning, by_card)
        by_card = (CARD_ROWS * by_card + self.rows_ * scaled) / (CARD_ROWS + self.rows_)
        by_skill = self._shares(meaning, named) @ self.profile_.strengths
        counts = self.profile_.counts
        mixed: FloatArray = ((CARD_ROWS * by_card + counts * by_skill) / (CARD_ROWS + counts)).astype(np.float32)
        return np.clip(mixed, 0.0, 1.0)

    def skills(self, queries: Sequence[str]) -> list[tuple[str, ...]]:
        """The skills that each query is taken to need, most needed first; none before there were outcomes."""
        if not self.rows_ or not queries:
            return [() for _ in queries]
        shares = self._shares(self.encoder.encode(queries), self._named(queries))
        order = np.argsort(-shares, axis=1, kind="stable")[:, : self.keywords]
        return [tuple(self.vocabulary_.names[i] for i in row if shares[n, i] > 0.0) for n, row in enumerate(order)]

    def add_expert(self, card: ExpertCard, outcomes: Sequence[Outcome] = ()) -> None:
        """Route to one more expert, by its card and, once the others were seen, by what outcomes there are of it.

        Raises ValueError for one that is there already.
        """
        if card.name in self.experts_:
            raise ValueError(f"the router knows the expert '{card.name}' already")
        self.cards_ = fit_cards([*self._declared(self.experts_), card], self.encoder)
        self.experts_ = (*self.experts_, card.name)
        table = RewardTable.of(outcomes if self.rows_ else (), [card.name])
        shares = self._shares(self.encoder.encode(table.queries), self._named(table.queries))
        self.profile_ = self.profile_.joined(fit_profile(table, shares, self.pseudo_rows))

    def _declared(self, names: Sequence[str]) -> list[ExpertCard]:
        """What is declared of the named experts."""
        declared = {card.name: card for card in self.experts}
        return [declared.get(name, ExpertCard(name)) for name in names]

    def _learn(self, table: RewardTable, vectors: FloatArray) -> None:
        meaning = vectors[:, :-SHAPE_FEATURES]
        by_card = self.cards_.rewards(meaning, vectors[:, -SHAPE_FEATURES:])
        self.scale_ = fit_scale(table, meaning, by_card, np.arange(len(table)))
        self.rows_ = len(table)
        named = self._named(table.queries)
        self.vocabulary_ = self._words(table, meaning, named)
        self.profile_ = fit_profile(table, self._shares(meaning, named), self.pseudo_rows)

    def _words(self, table: RewardTable, vectors: FloatArray, named: Sequence[Sequence[str]]) -> Vocabulary:
        if self.tagger is not None:
            return frequent_keywords(named, self.encoder)
        if self.vocabulary == "declared":
            return declared_skills(self.experts, self.encoder)
        tags = given_tags(table)
        if tags is not None:
            return seen_skills(vectors, tags, sorted({str(group) for group in table.groups}))
        tags = mined_tags(vectors, max(1, min(MINED, len(table) // ROWS_PER_SKILL)), self.seed)
        return seen_skills(vectors, tags, [str(number) for number in range(int(tags.max()) + 1)])

    def _named(self, queries: Sequence[str]) -> Sequence[Sequence[str]]:
        """What the tagger says of each query; nothing without one."""
        return self.tagger(queries) if self.tagger is not None and queries else ()

    def _shares(self, vectors: FloatArray, named: Sequence[Sequence[str]]) -> FloatArray:
        """`(n_queries, n_skills)`, rows sum to 1: of the named skills, and by the query's own vector where none is."""
        shares = self.vocabulary_.shares(vectors, self.keywords, self.sharpness)
        for row, keywords in enumerate(named):
            if keywords:
                shares[row] = self.vocabulary_.shares(self.encoder.encode(keywords), 1, self.sharpness).mean(axis=0)
        return shares
