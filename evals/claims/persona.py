"""An identity written for the question before it is answered, against the same model without one.

claim(Path("data/outcomes")).difference       # reward with an identity, less that without

A proxy: right answers to short questions stand in for the paper's preferences between long ones, and SmolLM2 writes the identities.
The outcomes are not used.
"""

from __future__ import annotations

from pathlib import Path

from evals.claims.asked import MODEL, Question, earned, plain, questions
from evals.claims.base import Claim
from orchestrator.labelling.queries import Item
from routers.training.evaluation import paired

PERSONA = {"name": "somebody", "backend": "persona", "base": MODEL, "identity": "synthesised"}


def claim(data: Path) -> Claim:
    """Raises ConfigError when the fleet's weights have not been pulled."""
    rewards = earned(questions("classification", "extraction"), (_somebody, plain), experts=[PERSONA])
    found = paired(rewards[:, 0], rewards[:, 1])
    return Claim(
        name="persona",
        paper="arXiv 2305.14688 (proxy)",
        statement="an identity that is written for the question earns more than none",
        difference=found.mean,
        low=found.low,
        high=found.high,
        n=len(rewards),
    )


def _somebody(question: Question) -> tuple[str, Item]:
    return str(PERSONA["name"]), question.item
