"""The shipped fleet on shipped tasks, each question asked in several ways: what the claims about prompts and panels stand on.

    asked = questions("classification", "extraction")
    earned(asked, [plain, lambda question: ("expert", question.item)], experts=[{"name": "expert", "backend": ...}])

A way says for a question whom to ask, and with which messages. Answers have at most `MAX_TOKENS` tokens. Ways that show solved
questions take them from the other fold. SmolLM2 has 135 million parameters: what it can't do, a better model may.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from evals.claims.held_out import SHIPPED
from evals.tasks.shipped import shipped
from orchestrator.labelling.asking import Asker
from orchestrator.labelling.base import Tools
from orchestrator.labelling.journal import Journal
from orchestrator.labelling.queries import Item
from orchestrator.labelling.registry import make_grader
from orchestrator.service import running
from routers.base import FloatArray
from routers.data.splits import query_hash

MODEL = "smollm2"
FOLDS = (0, 1)
MAX_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Question:
    """reward: as `switchyard label --reward` takes it."""

    item: Item
    reward: str

    @property
    def fold(self) -> int:
        return query_hash(self.item.query) % len(FOLDS)


Way = Callable[[Question], tuple[str, Item]]
"""Whom to ask, and what."""


def plain(question: Question) -> tuple[str, Item]:
    """SmolLM2, as the task has it."""
    return MODEL, question.item


def questions(*tasks: str) -> list[Question]:
    """Of the shipped tasks of these names."""
    return [Question(turn, task.reward) for task in map(shipped, tasks) for item in task.items for turn in item.turns]


def write_examples(path: Path, asked: Sequence[Question], fold: int) -> Path:
    """The questions that are not of this fold, with their answers, as an outcome file in which nobody was tried."""
    shown = [each.item for each in asked if each.fold != fold]
    lines = [json.dumps({"query": item.query, "target": item.target, "rewards": {}}) for item in shown]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def earned(
    asked: Sequence[Question],
    ways: Sequence[Way],
    *,
    experts: Sequence[Mapping[str, Any]] = (),
    panels: Mapping[str, Any] | None = None,
) -> FloatArray:
    """Rewards 0..1, `(n_questions, n_ways)`. experts, panels: beside those of the shipped fleet, with absolute paths.

    Raises ConfigError when the fleet's weights have not been pulled.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "experts.yaml"
        fleet = YAML(typ="safe").load(SHIPPED.read_text(encoding="utf-8"))
        fleet["experts"] += experts
        fleet["panels"] |= panels or {}
        path.write_text(json.dumps(fleet), encoding="utf-8")
        return asyncio.run(_earned(path, asked, ways))


async def _earned(path: Path, asked: Sequence[Question], ways: Sequence[Way]) -> FloatArray:
    async with running(path) as service:
        with Journal.open(path.with_suffix(".journal")) as journal:
            asker = Asker(service, journal)
            rewards = [await asyncio.gather(*(_reward(asker, each, way) for way in ways)) for each in asked]
            return np.array(rewards, dtype=np.float32)


async def _reward(asker: Asker, question: Question, way: Way) -> float:
    expert, item = way(question)
    said = await asker.answer(expert, item, max_tokens=MAX_TOKENS, temperature=0.0)
    grader = await make_grader(question.reward, Tools(asker))
    return (await grader.grade(question.item, {"answer": said.text}))["answer"]
