"""The reward `exact`: the answer's conclusion is the target, but for case, punctuation, articles and how a number is written.

    {"query": "What is the capital of Peru?", "target": "Lima"}           # "The answer is **Lima**." earns 1

A long text's conclusion is what it marks as its answer, or its last short line (`routers/data/answers.py`). Not here:
targets that may stand anywhere in a text (`contains`).
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.labelling.base import Tools, needs_target
from orchestrator.labelling.queries import Item
from routers.data.answers import final_answer


async def make(argument: str, tools: Tools) -> ExactGrader:
    return ExactGrader()


class ExactGrader:
    judged = False

    def check(self, item: Item) -> None:
        needs_target(item, "exact")

    async def grade(self, item: Item, answers: Mapping[str, str | None]) -> dict[str, float]:
        wanted = _concluded(needs_target(item, "exact"))
        return {expert: float(bool(text) and _concluded(text or "") == wanted) for expert, text in answers.items()}


def _concluded(text: str) -> str:
    """The conclusion; of a text without words, as an operator is, the text itself."""
    return final_answer(text) or text.strip()
