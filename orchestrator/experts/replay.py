"""Answers recorded in an outcome file, given again to the same questions: for tests, examples and simulations without models.

    experts:
      - {name: small, backend: replay, answers: outcomes.jsonl, column: qwen-7b, latency_s: 0.4}

A question is recognised by its exact text: that of the last user turn, or of all messages. One that was not recorded is another
expert's; one that was recorded with a null answer fails as it did then. Tokens are counted as `render.py` counts them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from orchestrator.config import ReplaySpec
from orchestrator.errors import ConfigError, ExpertError, ExpertRejected
from orchestrator.experts.base import Expert, Services
from orchestrator.experts.inprocess import InProcessExpert
from orchestrator.experts.inputs import conversation_text, question_of
from orchestrator.experts.render import text_answer
from orchestrator.types import Answer, Call
from routers.data.outcomes import read_outcomes


def make(spec: ReplaySpec, services: Services) -> Expert:
    """Reads the file. Raises `ConfigError` when that fails, or when nothing is recorded there for the expert."""
    answers = load_answers(services.base_dir / spec.answers, spec.column or spec.name)
    return InProcessExpert(spec, Replay(spec.name, answers, spec.latency_s).respond)


def load_answers(path: Path, column: str) -> dict[str, str | None]:
    """What `column` answered, by question."""
    try:
        outcomes = list(read_outcomes(path))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"answers '{path}' can't be read: {exc}") from exc
    answers = {outcome.query: outcome.answers[column] for outcome in outcomes if column in outcome.answers}
    if not answers:
        columns = sorted({name for outcome in outcomes for name in outcome.answers})
        raise ConfigError(f"answers '{path}' holds none of '{column}'; expected one of {columns}")
    return answers


class Replay:
    """Waits `latency_s`, then says what was recorded."""

    def __init__(self, name: str, answers: Mapping[str, str | None], latency_s: float) -> None:
        self._name = name
        self._answers = answers
        self._latency_s = latency_s

    async def respond(self, call: Call) -> Answer:
        texts = (question_of(call, self._name), conversation_text(call.body))
        question = next((text for text in texts if text in self._answers), None)
        if question is None:
            message = f"{self._name} has no recorded answer to this question"
            raise ExpertRejected(self._name, message, status=400, code="not_applicable", param=None)
        await asyncio.sleep(self._latency_s)
        text = self._answers[question]
        if text is None:
            raise ExpertError(self._name, "malformed", f"{self._name} gave no usable answer when this was recorded")
        return text_answer(call, self._name, text)
