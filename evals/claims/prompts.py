"""A mixture of prompts, which shows the examples nearest to the question, against one prompt that shows others of them to all.

claim(Path("data/outcomes")).difference       # reward by the mixture, less that of the one prompt

Each half of two shipped tasks, mixed, is answered with the other half's examples, the same number of them and under the same
instruction in both. Those of the one prompt are drawn anew for each question, so that no lucky draw decides. The paper's search
for instructions is left out. The outcomes are not used.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evals.claims.asked import FOLDS, MODEL, Question, earned, questions, write_examples
from evals.claims.base import Claim
from evals.claims.held_out import claim_encoder
from orchestrator.labelling.queries import Item
from orchestrator.mixtures.building import Job, build
from orchestrator.mixtures.mixture import Demonstration, Prompt
from orchestrator.prompts import read_prompts
from routers.training.evaluation import paired

DEMONSTRATIONS = 4


def claim(data: Path) -> Claim:
    """Raises ConfigError when the fleet's weights have not been pulled."""
    asked = questions("classification", "extraction")
    with tempfile.TemporaryDirectory() as folder:
        artifacts = [_built(asked, fold, Path(folder)) for fold in FOLDS]
        experts = [
            {
                "name": _name(fold),
                "backend": "prompts",
                "base": MODEL,
                "artifact": str(artifact),
                "demonstrations": DEMONSTRATIONS,
            }
            for fold, artifact in zip(FOLDS, artifacts, strict=True)
        ]
        rewards = earned(asked, (_mixed, OnePrompt(asked)), experts=experts)
    found = paired(rewards[:, 0], rewards[:, 1])
    return Claim(
        name="prompts",
        paper="arXiv 2407.00256",
        statement="a mixture of prompts earns more than one prompt with as many of the same demonstrations",
        difference=found.mean,
        low=found.low,
        high=found.high,
        n=len(rewards),
    )


class OnePrompt:
    """A way: as many demonstrations as in the mixture, drawn from the other fold."""

    def __init__(self, asked: Sequence[Question]) -> None:
        self._asked = asked
        self._dice = random.Random(0)
        self._instruction = read_prompts("mixture").text("default")

    def __call__(self, question: Question) -> tuple[str, Item]:
        others = [each.item for each in self._asked if each.fold != question.fold]
        drawn = tuple(
            Demonstration(item.query, item.target or "") for item in self._dice.sample(others, DEMONSTRATIONS)
        )
        messages = Prompt(self._instruction, drawn).before([dict(message) for message in question.item.messages])
        return MODEL, replace(question.item, messages=tuple(messages))


def _mixed(question: Question) -> tuple[str, Item]:
    return _name(question.fold), question.item


def _name(fold: int) -> str:
    return f"mixture-{fold}"


def _built(asked: Sequence[Question], fold: int, folder: Path) -> Path:
    """The mixture that questions of this fold are asked by."""
    job = Job(
        write_examples(folder / f"{fold}.jsonl", asked, fold), folder / _name(fold), demonstrations=DEMONSTRATIONS
    )
    asyncio.run(build(job, claim_encoder()))
    return job.out
