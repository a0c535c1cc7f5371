"""Queries with their right answers: what demonstrations are made of, and instructions are tried on.

    examples, notes = read_examples(Path("O.jsonl"), reward="exact")
    examples[0].demonstration.answer              # 'Lima'

From the lines of `switchyard label`'s queries or outcomes. The right answer is the line's `target`, if the reward compares answers
with it, else the best answer there, if it earned at least `RIGHT`. Lines of `split: test` are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import LabelError
from orchestrator.labelling.queries import Item, read_items
from orchestrator.mixtures.mixture import Demonstration
from routers.base import Outcome
from routers.data.outcomes import read_outcomes

RIGHT = 0.5
COMPARED = frozenset({"exact", "numeric", "choice", "contains"})
"""The rewards whose targets are answers."""


@dataclass(frozen=True, slots=True)
class Example:
    """item: the query as `switchyard label` asks and grades it."""

    item: Item
    demonstration: Demonstration


def read_examples(path: Path, reward: str) -> tuple[list[Example], tuple[str, ...]]:
    """Those that have a right answer, each query once, and notes on what was left out.

    Raises `LabelError` and `OutcomeError` for a file that is wrong, `LabelError` where there are none.
    """
    items = list(read_items(path))
    has_all = reward in COMPARED and all(item.target for item in items)
    outcomes: list[Outcome | None] = [None] * len(items) if has_all else [*read_outcomes(path)]
    found: dict[str, Example] = {}
    num_tests = num_unanswered = 0
    for item, outcome in zip(items, outcomes, strict=True):
        answer = item.target if item.target and reward in COMPARED else _best(outcome)
        if item.split == "test":
            num_tests += 1
        elif answer is None:
            num_unanswered += 1
        else:
            found.setdefault(item.query, Example(item, Demonstration(item.query, answer)))
    if not found:
        raise LabelError(f"{path}: expected queries with a right answer, in `target` or among `answers`, got none")
    left_out = ((num_tests, "are of the split 'test'"), (num_unanswered, "have no right answer"))
    return list(found.values()), tuple(f"{num} of {len(items)} lines {why}" for num, why in left_out if num)


def _best(outcome: Outcome | None) -> str | None:
    """The answer with the highest reward, if it is right."""
    if outcome is None:
        return None
    said = {expert: text for expert, text in outcome.answers.items() if text and expert in outcome.rewards}
    best = max(said, key=lambda expert: outcome.rewards[expert], default=None)
    return said[best] if best is not None and outcome.rewards[best] >= RIGHT else None
