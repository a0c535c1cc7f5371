"""The first usable answer to arrive. What a panel is for when speed or a spare matters, and the baseline of the others.

await First().combine(question, completions)
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.aggregators.base import Combined, MemberAnswer


class First:
    eager = True

    async def combine(self, question: str, completions: Sequence[MemberAnswer]) -> Combined:
        first = min(completions, key=lambda completion: completion.elapsed_s)
        return Combined(first.text, (first.expert,), f"{first.expert} answered first")
