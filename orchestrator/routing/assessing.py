"""Experts that are asked how fit they are for a query, before one of them answers it.

    assessments = await assessor.assess(query, fleet, ["smollm2", "editor"], decision)
    assessments["smollm2"]                      # {'likelihood': -1.21, 'yes': 0.41}

Asked is who gives log-probabilities, all at the same time, each under leases of its own: whether it can answer the query well (one
token), and, of llama.cpp, how likely it holds the query's first tokens as something that is said to it. An expert that does not
answer, or not in its half of the request's time, is not assessed. Not here: what follows (`routers/families/self_select.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from msgspec.structs import replace

from orchestrator.config import ExpertBase, LlamaCppSpec
from orchestrator.errors import SwitchyardError
from orchestrator.experts.logprobs import with_logprobs
from orchestrator.fleet.snapshot import Fleet
from orchestrator.routing.asking import Asker
from orchestrator.types import Decision, Query

QUESTION = "Can you answer this well? Say yes or no, and nothing else."
INVITATION = "Write a message that people send to you."
READ_TOKENS = 24
"""Each takes a step of the model, so this is about what an answer of as many tokens takes."""


class Assessor:
    """Asks through `asker`."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    async def assess(
        self, query: Query, fleet: Fleet, experts: Sequence[str], decision: Decision
    ) -> dict[str, dict[str, float]]:
        """The signals of `routers.families.self_select`, by expert, of those that gave any.

        Each try is an attempt in `decision`.
        """
        if query.kind not in ("chat", "completion"):
            return {}
        able = [name for name in experts if "logprobs" in fleet.specs[name].capabilities]
        halved = replace(query, deadline=time.monotonic() + query.remaining_s / 2)
        found = await asyncio.gather(*(self._assess(halved, fleet, fleet.specs[name], decision) for name in able))
        return {name: signals for name, signals in zip(able, found, strict=True) if signals}

    async def _assess(self, query: Query, fleet: Fleet, spec: ExpertBase, decision: Decision) -> dict[str, float]:
        signals: dict[str, float] = {}
        asked = [{"role": "user", "content": f"{query.text}\n\n{QUESTION}"}]
        try:
            yes = await self._asker.ask_yes(query, asked, spec.name, fleet, decision, purpose="assessment")
            if yes is not None:
                signals["yes"] = yes
            if isinstance(fleet.specs[spec.host], LlamaCppSpec) and query.text:
                likelihood = await self._likelihood(query, fleet, spec.name, decision)
                if likelihood is not None:
                    signals["likelihood"] = likelihood
        except SwitchyardError:  # the record has it, and the expert is not assessed any further
            return signals
        return signals

    async def _likelihood(self, query: Query, fleet: Fleet, expert: str, decision: Decision) -> float | None:
        """Nats per byte of the query's beginning, if the expert were to say it."""
        body = {
            "model": query.model,
            "messages": [{"role": "user", "content": INVITATION}],
            "forced_answer": query.text,
            "max_tokens": READ_TOKENS,
        }
        asked = replace(query, kind="chat", body=with_logprobs(body, "chat", 1), num_answers=1)
        said = await self._asker.ask(asked, expert, fleet, decision, purpose="assessment")
        num_bytes = len(said.text.encode())
        return sum(token.logprob for token in said.tokens) / num_bytes if num_bytes and said.tokens else None
