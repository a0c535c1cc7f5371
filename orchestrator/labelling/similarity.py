"""The reward `similarity:EXPERT`: how alike the answer and the target are to an embedding expert.

    {"query": "Summarise: ...", "target": "Revenue rose and costs fell."}

The reward is the cosine of the two vectors, not below 0. It rewards the same topic in the same words, and tells a sentence from its
negation badly; answers far longer than the target earn less. Embedding models differ in what a cosine of 0.5 means, so rewards of
two of them can't be compared.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.labelling.base import Asks, Tools, needs_target
from orchestrator.labelling.queries import Item


async def make(argument: str, tools: Tools) -> SimilarityGrader:
    tools.asks.require(argument, "embedding")
    return SimilarityGrader(argument, tools.asks)


class SimilarityGrader:
    judged = True

    def __init__(self, expert: str, asks: Asks) -> None:
        self._expert = expert
        self._asks = asks

    def check(self, item: Item) -> None:
        needs_target(item, "similarity")

    async def grade(self, item: Item, answers: Mapping[str, str | None]) -> dict[str, float]:
        target = needs_target(item, "similarity")
        return {expert: await self._reward(target, text) for expert, text in answers.items()}

    async def _reward(self, target: str, text: str | None) -> float:
        if not text or not text.strip():
            return 0.0
        return min(max(await self._asks.cosine(self._expert, target, text), 0.0), 1.0)
