"""The reward `choice`: the answer picks the right one of several lettered choices.

    {"query": "Which is a fruit?", "choices": ["brick", "pear"], "target": "B"}   # "B", "(b)", "**B) pear**" and "pear" earn 1

The target is a letter, or the text of a choice. What an answer picks is read from its conclusion, else from a letter that it
opens with, else from the only letter that it calls its answer or the only choice that it names. One that picks two picks none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import ascii_uppercase

from orchestrator.labelling.base import Tools, needs_target
from orchestrator.labelling.contains import spaced_words
from orchestrator.labelling.queries import Item
from routers.data.answers import final_answer

_OPENING = re.compile(r"[\s*(\[]*([A-Za-z])[*)\]]*(?:[.):\]]|\s*\n)")
_CALLED = re.compile(r"(?i:\b(?:answer|option|choice)\b(?:\s+is)?)[\s:*(]*([A-Z])\b(?!')")
_BRACKETED = re.compile(r"\(([A-Z])\)")


async def make(argument: str, tools: Tools) -> ChoiceGrader:
    return ChoiceGrader()


class ChoiceGrader:
    judged = False

    def check(self, item: Item) -> None:
        if picked(needs_target(item, "choice"), item.choices) is None:
            raise ValueError(f"field 'target': expected a letter or one of the choices, got '{item.target}'")

    async def grade(self, item: Item, answers: Mapping[str, str | None]) -> dict[str, float]:
        wanted = picked(needs_target(item, "choice"), item.choices)
        return {
            expert: float(bool(text) and picked(text or "", item.choices) == wanted) for expert, text in answers.items()
        }


def picked(text: str, choices: tuple[str, ...] = ()) -> str | None:
    """The capital letter that `text` picks; None when it picks none, or several."""
    letters = ascii_uppercase[: len(choices) or len(ascii_uppercase)]
    named = {final_answer(choice): letter for choice, letter in zip(choices, letters, strict=False)}
    final = final_answer(text)
    if final in named:
        return named[final]
    if len(final) == 1 and final.upper() in letters:
        return final.upper()
    if (opening := _OPENING.match(text)) and opening[1].upper() in letters:
        return opening[1].upper()
    for pattern in (_CALLED, _BRACKETED):
        if found := set(pattern.findall(text)).intersection(letters):
            return found.pop() if len(found) == 1 else None
    folded = spaced_words(text)
    said = {letter for choice, letter in named.items() if choice and f" {choice} " in folded}
    return said.pop() if len(said) == 1 else None
