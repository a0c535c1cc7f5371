"""The reward `regex`: the target is a regular expression, found anywhere in the answer.

    {"query": "Write a date in ISO format.", "target": "\\\\b\\\\d{4}-\\\\d{2}-\\\\d{2}\\\\b"}

Patterns are those of the `regex` library, which holds to `re`'s and can be told to give up: one that is still searching after a
second has found nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import MissingExtra
from orchestrator.labelling.base import Tools, needs_target
from orchestrator.labelling.queries import Item

TIMEOUT_S = 1.0


async def make(argument: str, tools: Tools) -> RegexGrader:
    try:
        import regex
    except ImportError as exc:
        raise MissingExtra("the reward 'regex'", "train") from exc
    return RegexGrader(regex)


class RegexGrader:
    """library: the module `regex`."""

    judged = False

    def __init__(self, library: Any) -> None:
        self._library = library

    def check(self, item: Item) -> None:
        pattern = needs_target(item, "regex")
        try:
            self._library.compile(pattern)
        except self._library.error as exc:
            raise ValueError(f"field 'target': expected a regular expression, got '{pattern}' ({exc})") from exc

    async def grade(self, item: Item, answers: Mapping[str, str | None]) -> dict[str, float]:
        pattern = self._library.compile(needs_target(item, "regex"))
        return {expert: float(await asyncio.to_thread(found, pattern, text or "")) for expert, text in answers.items()}


def found(pattern: Any, text: str) -> bool:
    """Whether a compiled pattern of `regex` is in `text`, as far as can be told in `TIMEOUT_S`."""
    try:
        return pattern.search(text, timeout=TIMEOUT_S, concurrent=True) is not None
    except TimeoutError:
        return False
