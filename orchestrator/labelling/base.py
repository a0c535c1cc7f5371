"""What a grader is: one query's answers in, a reward for each out.

    grader = await make_grader("judge:gpt-large", tools)          # orchestrator/labelling/registry.py
    await grader.grade(item, {"small": "The answer is 5.", "large": None})        # {"small": 0.78, "large": 0.0}

What a grader may need beyond the answers (experts to ask, weights) are its `Tools`. Not here: who is asked, and what is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from orchestrator.labelling.queries import Item
from orchestrator.types import Kind


class Grader(Protocol):
    """judged: whether an opinion decides, which a constant answer might please (`gaming.py` tries)."""

    judged: bool

    def check(self, item: Item) -> None:
        """Raises ValueError that says what a query lacks to be graded, before anything is paid for."""
        ...

    async def grade(self, item: Item, answers: Mapping[str, str | None]) -> Mapping[str, float]:
        """Reward 0..1 by expert. None, an unusable answer, is worth 0; an expert whose answer can't be graded is left out.

        Raises `SwitchyardError` when nothing can be graded now, because the judge can't be asked.
        """
        ...


class Asks(Protocol):
    """How graders ask experts. What was asked before is remembered, and not paid for again."""

    def require(self, expert: str, kind: Kind) -> None:
        """Raises `LabelError` unless the fleet has such an expert for such requests."""
        ...

    async def say(self, expert: str, messages: Sequence[Mapping[str, Any]], *, max_tokens: int) -> str | None:
        """What `expert` says at temperature 0; None when that is nothing. Raises `SwitchyardError` when it can't be asked."""
        ...

    async def cosine(self, expert: str, first: str, second: str) -> float:
        """How alike two texts are to an embedding expert, -1..1. Raises `SwitchyardError` when it can't be asked."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """asks: the fleet. For `dmoerm`: weights of capabilities by category, or a file of labelled pairs to learn them from."""

    asks: Asks
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    pairs: Path | None = None


def needs_target(item: Item, reward: str) -> str:
    """The query's target. Raises ValueError when it has none."""
    if not item.target:
        raise ValueError(f"the reward '{reward}' needs the field 'target'")
    return item.target
