"""The first usable answers to arrive: as soon as a quorum has spoken, the quickest of them stands.

    Combined(text="42", who=("calculator",), why="calculator answered first")

What a panel is for when speed or a spare matters, and the baseline of the others.
"""

from __future__ import annotations

from orchestrator.aggregators.base import Combined
from orchestrator.aggregators.table import Table


class First:
    async def combine(self, table: Table) -> Combined:
        answers = await table.answers(enough=table.quorum)
        first = min(answers, key=lambda answer: answer.elapsed_s)
        return Combined(first.text, (first.expert,), f"{first.expert} answered first")
