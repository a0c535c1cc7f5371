"""Nearest solved examples and a vote over shuffled options, against the question alone.

claim(Path("data/outcomes")).difference       # reward by `medprompt`, less that of the plain question

Each half of the shipped classification task is answered with the other half's examples. They show their answers alone: SmolLM2's
own reasoning is left out. The outcomes are not used.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from evals.claims.asked import FOLDS, MODEL, Question, earned, plain, questions, write_examples
from evals.claims.base import Claim
from orchestrator.config.panels import PANEL_PREFIX
from orchestrator.labelling.queries import Item
from routers.training.evaluation import paired


def claim(data: Path) -> Claim:
    """Raises ConfigError when the fleet's weights have not been pulled."""
    asked = questions("classification")
    with tempfile.TemporaryDirectory() as folder:
        panels = {
            _name(fold): {
                "experts": [MODEL],
                "aggregator": "medprompt",
                "demonstrations": str(write_examples(Path(folder) / f"{fold}.jsonl", asked, fold)),
                "write_reasoning": False,
            }
            for fold in FOLDS
        }
        rewards = earned(asked, (_tested, plain), panels=panels)
    found = paired(rewards[:, 0], rewards[:, 1])
    return Claim(
        name="medprompt",
        paper="arXiv 2311.16452",
        statement="nearest solved examples and a vote over shuffled options earn more than the question alone",
        difference=found.mean,
        low=found.low,
        high=found.high,
        n=len(rewards),
    )


def _name(fold: int) -> str:
    return f"tested-{fold}"


def _tested(question: Question) -> tuple[str, Item]:
    return PANEL_PREFIX + _name(question.fold), question.item
