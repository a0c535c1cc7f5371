"""Questions with known answers, and those of them that are most like a new question.

    demonstrations = Demonstrations(Path("train.jsonl.gz"))       # an outcome file with targets
    demonstrations.nearest("What is 17 * 24?", 3)                 # [Demonstration("What is 17 * 23?", "391", None), ...]

Likeness is that of hashed words and letters (`routers/encoders/hashed.py`): no model, and a few milliseconds. Lines of `split:
test` are left alone. Not here: how they are shown to an expert (`medprompt.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from routers.base import Outcome
from routers.data.answers import final_answer
from routers.data.outcomes import read_outcomes
from routers.encoders.hashed import HashedEncoder

MAX_LINES = 5_000
"""The first of a longer file are used."""
DIMENSIONS = 1024
RIGHT = 0.5
"""The reward from which on a recorded answer is a right one."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """reasoning: a right answer as it was written, ending in the target; None where the file has none that says more than that."""

    query: str
    target: str
    reasoning: str | None


class Demonstrations:
    """Raises `OutcomeError` for a file that is wrong, ValueError where no line has a target."""

    def __init__(self, path: Path) -> None:
        found: dict[str, Demonstration] = {}
        for outcome in read_outcomes(path):
            if outcome.target and outcome.split != "test":
                made = Demonstration(outcome.query, outcome.target, _reasoning(outcome, outcome.target))
                found.setdefault(outcome.query, made)
            if len(found) == MAX_LINES:
                break
        if not found:
            raise ValueError(f"{path.name}: expected outcomes with a target that are not of the split 'test', got none")
        self._found = tuple(found.values())
        self._encoder = HashedEncoder(DIMENSIONS)
        self._vectors = self._encoder.encode(list(found))

    def nearest(self, question: str, count: int) -> list[Demonstration]:
        """At most `count`, the most alike first."""
        likeness = self._vectors @ self._encoder.encode([question])[0]
        return [self._found[i] for i in np.argsort(-likeness, kind="stable")[:count]]


def _reasoning(outcome: Outcome, target: str) -> str | None:
    """The right answer with the highest reward that is more than the target itself and concludes in it."""
    wanted = final_answer(target)
    said = {outcome.rewards.get(expert, 0.0): text for expert, text in outcome.answers.items() if text}
    right = (said[reward] for reward in sorted(said, reverse=True) if reward >= RIGHT)
    return next(
        (text for text in right if len(text.split()) > len(target.split()) + 8 and final_answer(text) == wanted), None
    )
