"""Experts as graders see them, scripted: no fleet, no journal.

asks = FakeAsks(lambda messages: "Rating: [[7]]")
grader = await make_grader("judge:gpt", Tools(asks))
asks.asked                          # what was asked, in order
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator.errors import LabelError
from orchestrator.labelling.queries import Item
from orchestrator.types import Kind

Messages = Sequence[Mapping[str, Any]]


class FakeAsks:
    """says: what the expert replies. Cosines are 1 for equal texts, `alike` for others."""

    def __init__(
        self, says: Callable[[Messages], str | None] = lambda _: "Rating: [[10]]", alike: float = 0.25
    ) -> None:
        self._says = says
        self._alike = alike
        self.asked: list[Messages] = []

    def require(self, expert: str, kind: Kind) -> None:
        if expert == "nobody":
            raise LabelError(f"'{expert}' is no expert")

    async def say(self, expert: str, messages: Messages, *, max_tokens: int) -> str | None:
        self.asked.append(messages)
        return self._says(messages)

    async def cosine(self, expert: str, first: str, second: str) -> float:
        return 1.0 if first == second else self._alike


def item(query: str = "What is 2 + 2?", **fields: Any) -> Item:
    return Item(query, ({"role": "user", "content": query},), **fields)
