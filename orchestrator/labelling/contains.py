"""The reward `contains`: the target's words stand in the answer, in their order, whatever surrounds them.

    {"query": "Who wrote Faust?", "target": "Goethe"}                     # "It was J. W. von Goethe." earns 1

Case and punctuation don't count, and words are whole: "cat" is not in "concatenate". An answer that lists every candidate earns 1
too, so this is for questions whose answers are named in passing, not for choices.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from orchestrator.labelling.base import Tools, needs_target
from orchestrator.labelling.queries import Item


async def make(argument: str, tools: Tools) -> ContainsGrader:
    return ContainsGrader()


class ContainsGrader:
    judged = False

    def check(self, item: Item) -> None:
        if not spaced_words(needs_target(item, "contains")).strip():
            raise ValueError(f"field 'target': expected words, got '{item.target}'")

    async def grade(self, item: Item, answers: Mapping[str, str | None]) -> dict[str, float]:
        wanted = spaced_words(needs_target(item, "contains"))
        return {expert: float(wanted in spaced_words(text or "")) for expert, text in answers.items()}


def spaced_words(text: str) -> str:
    """The words of `text` in lower case, each between two spaces."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())
    return f" {' '.join(words)} "
