"""A vote over final answers: what most members conclude, in the words of the first of them.

    await Vote().combine("6 x 7?", [MemberAnswer("a", "42"), MemberAnswer("b", "The answer is 42."), MemberAnswer("c", "48")])

For questions whose answer is a number, a letter or a few words (self-consistency, arXiv 2203.11171, over models rather than
samples). A text that ends in none of these agrees only with the same text. Ties go to the earlier member.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from orchestrator.aggregators.base import Combined, MemberAnswer

MAX_SHORT_WORDS = 8
MAX_SHORT_CHARS = 200

_MARKED = (
    re.compile(r"\\boxed\{([^{}]+)\}"),
    re.compile(r"####\s*(.+)"),
    re.compile(r"\banswer\b[^.:=\n]{0,40}?(?:\bis\b|[:=])[\s:*]*(.+?)(?=\.\s|$)", re.IGNORECASE | re.MULTILINE),
)
_LETTER = re.compile(r"(?:option|choice)?\s*\(?([a-z])(?:\)|[.:](?=\s)|$)", re.IGNORECASE)
_NUMBER = re.compile(r"-?\$?(?:\d+/[1-9]\d*|\d[\d,]*(?:\.\d+)?)")


class Vote:
    eager = False

    async def combine(self, question: str, completions: Sequence[MemberAnswer]) -> Combined:
        camps: dict[str, list[str]] = {}
        for completion in completions:
            camps.setdefault(final_answer(completion.text), []).append(completion.expert)
        winner = max(camps, key=lambda answer: len(camps[answer]))
        text = next(completion.text for completion in completions if final_answer(completion.text) == winner)
        why = f"{len(camps[winner])} of {len(completions)} agree"
        return Combined(text, tuple(camps[winner]), why)


def final_answer(text: str) -> str:
    """What a text concludes in, so written that equal conclusions are equal: a number, a letter, a few words, or all of it."""
    said = conclusion(text).strip(" \t*_`\"'.,;:!")
    if not _is_short(said):
        return " ".join(said.split())
    if letter := _LETTER.match(said):
        return letter[1].lower()
    numbers = _NUMBER.findall(said)
    if len(numbers) == 1:
        return str(Fraction(re.sub(r"[$,]", "", numbers[0])))
    words = re.findall(r"\w+", said.casefold())
    return " ".join(word for word in words if word not in ("a", "an", "the"))


def conclusion(text: str) -> str:
    """What is marked as the answer, last mark first; else the last line, if it is short; else the whole text."""
    for mark in _MARKED:
        if found := mark.findall(text):
            return str(found[-1])
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines and _is_short(lines[-1]) else text.strip()


def _is_short(text: str) -> bool:
    return len(text) <= MAX_SHORT_CHARS and len(text.split()) <= MAX_SHORT_WORDS
