"""A judge scores the answers, and the best of them is the panel's, word for word.

    aggregator: best_of
    judge: large
    style: double_layer                 # or pointwise, the default, or pairwise
    weights: {objective question: {correctness: 3, logic: 1}}

`pointwise`: how likely the judge finds it that an answer is right, each asked by itself, so that no answer can touch another's
score.

`pairwise`: what an answer wins against each other one, shown in both orders, because judges favour a place (arXiv 2306.05685).

`double_layer`: "DMoERM: Recipes of Mixture-of-Experts for Effective Reward Modeling" (arXiv 2403.01197): the judge finds the
question's category, scores the capabilities that an answer to such a question shows, and `weights` combine them. There each
capability has a small model of its own; here all are the judge. `switchyard label --reward dmoerm:NAME` scores answers offline by
the same categories, and its `--weights` are these.

A text can talk a judge into its yes without a word on the question. With `calibrate: true` it is asked the same about the
question "N/A", and what it says then is divided out (contextual calibration, arXiv 2102.09690), for twice the calls. For judges
that are easily led: of SmolLM2's yes to 48 wrong answers, injected instructions raise the log-odds by 0.52 over harmless words,
calibrated by 0.24.

Scores are probabilities of one token where the judge has them. Equal scores are told apart by how many conclude alike. An answer
that the judge could not score comes last; if that is all of them, they vote.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Literal

from orchestrator.aggregators.base import Combined, MemberAnswer
from orchestrator.aggregators.reading.quoting import Quoted, label, quote_to_fit
from orchestrator.aggregators.selecting.vote import camps, stand_in
from orchestrator.aggregators.table import Table
from orchestrator.errors import LabelError
from orchestrator.labelling.capabilities import CAPABILITIES, Weights, check_categories, weight_vector
from orchestrator.prompts import Prompts
from orchestrator.types import Messages

Style = Literal["pointwise", "pairwise", "double_layer"]
VERDICT_TOKENS = 16
NO_QUESTION = "N/A"


class BestOf:
    """weights: of `double_layer`, how much each capability of a category counts; by default all the same.

    calibrate: not for `pairwise`, which compares an answer with others rather than with nothing.
    """

    def __init__(
        self,
        *,
        prompts: Prompts,
        style: Style = "pointwise",
        weights: Weights | None = None,
        calibrate: bool = False,
    ) -> None:
        if calibrate and style == "pairwise":
            raise ValueError("calibrate: 'pairwise' compares answers with each other; expected another style")
        if weights is not None and style != "double_layer":
            raise ValueError(f"weights: are of 'double_layer', and the style is '{style}'")
        self._prompts = prompts
        self._style = style
        self._weights = weights or {}
        self._calibrate = calibrate
        try:
            check_categories(self._weights)
        except LabelError as exc:
            raise ValueError(exc.message) from exc

    async def combine(self, table: Table) -> Combined:
        answers = await table.answers()
        if len(answers) == 1:
            return Combined(answers[0].text, (answers[0].expert,), "the only answer")
        table.say(f"{table.judge} compares {len(answers)} answers")
        scores = await self._scores(table, answers)
        if not scores:
            return await stand_in(table, answers, f"{table.judge} gave no verdict")
        table.note("scores", table.judge, ", ".join(f"{expert} {score:.2f}" for expert, score in scores.items()))
        best = strongest(answers, scores)
        why = f"{best.expert} scores {scores[best.expert]:.2f} of 1 by {table.judge}"
        if len(scores) < len(answers):
            why += f", who scored {len(scores)} of {len(answers)}"
        return Combined(best.text, (best.expert,), why, details={"scores": scores})

    async def _scores(self, table: Table, answers: Sequence[MemberAnswer]) -> dict[str, float]:
        """Score 0..1 by expert; without those that the judge has no verdict on."""
        if self._style == "pairwise":
            return await self._by_pairs(table, answers)
        category = None
        if self._style == "double_layer" and (category := await self._category(table)) is None:
            return {}
        scored = await asyncio.gather(*(self._score(table, answer, category) for answer in answers))
        return {answer.expert: score for answer, score in zip(answers, scored, strict=True) if score is not None}

    async def _score(self, table: Table, answer: MemberAnswer, category: str | None) -> float | None:
        """One answer by itself: how likely it is right, or how well it shows what its category calls for."""
        if category is None:
            return await self._yes(table, answer, "pointwise", "judge")
        names = CAPABILITIES[category]
        scores = await asyncio.gather(
            *(self._yes(table, answer, "capability", name, capability=name) for name in names)
        )
        known = [score for score in scores if score is not None]
        return float(weight_vector(self._weights, category) @ known) if len(known) == len(names) else None

    async def _yes(self, table: Table, answer: MemberAnswer, prompt: str, round: str, **values: str) -> float | None:
        """How likely the judge says yes of one answer; None when it says neither yes nor no."""
        questions = [table.question, NO_QUESTION] if self._calibrate else [table.question]
        said = await asyncio.gather(
            *(
                self._choose(table, [answer], prompt, ("yes", "no"), round, question=question, **values)
                for question in questions
            )
        )
        if not all(said):
            return None
        return calibrated(said[0]["yes"], said[1]["yes"]) if self._calibrate else said[0]["yes"]

    async def _category(self, table: Table) -> str | None:
        """The outer layer: which of `CAPABILITIES` the question belongs to; None when the judge doesn't say."""
        by_label = {label(place): category for place, category in enumerate(CAPABILITIES)}
        listed = "\n".join(f"{letter}. {category}" for letter, category in by_label.items())
        messages = self._prompts.messages("category", question=table.question, categories=listed)
        said = await table.choose(table.judge, messages, tuple(by_label), round="category")
        return by_label[max(said, key=said.__getitem__)] if said else None

    async def _by_pairs(self, table: Table, answers: Sequence[MemberAnswer]) -> dict[str, float]:
        """What each answer wins of its comparisons. Who is in none that the judge decided has no score."""
        pairs = list(combinations(answers, 2))
        shares = await asyncio.gather(*(self._share(table, first, second) for first, second in pairs))
        won: dict[str, list[float]] = {}
        for (first, second), share in zip(pairs, shares, strict=True):
            if share is not None:
                won.setdefault(first.expert, []).append(share)
                won.setdefault(second.expert, []).append(1.0 - share)
        return {answer.expert: fmean(won[answer.expert]) for answer in answers if answer.expert in won}

    async def _share(self, table: Table, first: MemberAnswer, second: MemberAnswer) -> float | None:
        """What the first wins of the point between two, by both orders; None when the judge is silent in either."""
        orders = ([first, second], [second, first])
        said = await asyncio.gather(
            *(self._choose(table, pair, "pairwise", ("A", "B"), "judge", question=table.question) for pair in orders)
        )
        return (said[0]["A"] + said[1]["B"]) / 2 if all(said) else None

    async def _choose(
        self,
        table: Table,
        answers: Sequence[MemberAnswer],
        prompt: str,
        options: tuple[str, str],
        round: str,
        **values: str,
    ) -> Mapping[str, float]:
        """The judge on one answer, or two in this order, cut to what it can hold."""

        def write(quoted: Quoted) -> Messages:
            return self._prompts.messages(prompt, answers=quoted.text, **values)

        _, messages = quote_to_fit(table, table.judge, answers, write, max_tokens=VERDICT_TOKENS, in_order=True)
        return await table.choose(table.judge, messages, options, round=round)


def calibrated(probability: float, by_itself: float) -> float:
    """`probability` with what the answer gets by itself, without a question, taken off its log-odds."""
    yes, no = probability * (1 - by_itself), (1 - probability) * by_itself
    return yes / (yes + no) if yes + no else 0.5


def strongest(answers: Sequence[MemberAnswer], scores: Mapping[str, float]) -> MemberAnswer:
    """Who scores highest, to a thousandth; among equals whose conclusion more members share, and then the earlier.

    scores: of at least one of them; who has none comes last.
    """
    num_alike = {answer.expert: len(camp.answers) for camp in camps(answers, {}) for answer in camp.answers}
    return max(
        (answer for answer in answers if answer.expert in scores),
        key=lambda answer: (round(scores[answer.expert], 3), num_alike[answer.expert]),
    )
