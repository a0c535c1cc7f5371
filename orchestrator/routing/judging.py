"""How sure an expert is of its answer to a query: asked for, with what it takes to know, in one of five ways.

    judge = Judge(asker, read_prompts("policy"))
    held = await judge.answer(Turn(query, "small", fleet, policy, decision))
    held.said.text, held.confidence             # ('Paris.', 0.93); the confidence is None where it can't be known

What the ways cost besides the answer: `logprobs`, `dispersion` and `usable` nothing, `self` one token and the prompt again,
`agreement` as many answers as there are more `samples`. Not here: what a confidence is (`routers/confidence.py`), and what follows
from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from orchestrator.aggregators.budget import Budget
from orchestrator.aggregators.reading.usable import why_unusable
from orchestrator.config import Confidence, ExpertBase, PolicySpec
from orchestrator.errors import SwitchyardError
from orchestrator.experts.inputs import question_of
from orchestrator.experts.logprobs import with_logprobs
from orchestrator.fleet.snapshot import Fleet
from orchestrator.prompts import Prompts
from orchestrator.routing.asking import Asker, Said
from orchestrator.routing.feasibility import infeasible_because
from orchestrator.routing.pricing import most_usd
from orchestrator.types import Call, Decision, Query
from routers.confidence import SAMPLE_TEMPERATURE, agreement, concentration, mean_probability
from routers.data.answers import final_answer

ALTERNATIVES = 5
"""How many tokens the dispersion is of at each place."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One expert's turn at a query; what is asked is put down in `decision`."""

    query: Query
    expert: str
    fleet: Fleet
    policy: PolicySpec
    decision: Decision


@dataclass(frozen=True, slots=True)
class Held:
    """An answer, and how sure its expert is of it, 0..1; None where that isn't known. why: it can't be used, if it can't."""

    said: Said
    confidence: float | None
    why: str | None = None


def judgeable(specs: Iterable[ExpertBase], query: Query, policy: PolicySpec) -> set[str]:
    """The experts whose confidence in an answer to `query` can be known: by what they can do, and within the cost limit."""
    if policy.confidence in ("logprobs", "dispersion", "self"):
        body = with_logprobs(query.body, query.kind, 1)
        query = replace(query, body=body, needs=query.needs | {"logprobs"})
    more = calls_per_answer(policy) - 1
    return {spec.name for spec in specs if infeasible_because(spec, query, more * most_usd(spec, query)) is None}


def calls_per_answer(policy: PolicySpec) -> int:
    """How many calls it takes to have an answer and to know how sure its expert is."""
    return {"agreement": policy.samples, "self": 2}.get(policy.holds_by, 1)


class Judge:
    """Asks through `asker`. prompts: with `check`, which asks an expert whether its answer is right."""

    def __init__(self, asker: Asker, prompts: Prompts) -> None:
        self._asker = asker
        self._prompts = prompts
        self._ways: Mapping[Confidence, Callable[[Turn], Awaitable[Held]]] = {
            "logprobs": self._by_logprobs,
            "dispersion": self._by_dispersion,
            "agreement": self._by_agreement,
            "self": self._by_itself,
            "usable": self._by_use,
        }

    async def answer(self, turn: Turn) -> Held:
        """Raises `SwitchyardError` when there is no answer. One that says nothing has the confidence 0."""
        held = await self._ways[turn.policy.holds_by](turn)
        return held if held.said.text.strip() or held.said.tool_calls else Held(held.said, 0.0, held.why)

    async def _by_logprobs(self, turn: Turn) -> Held:
        said = await self._ask_with_logprobs(turn, 1)
        return Held(said, mean_probability([token.logprob for token in said.tokens]))

    async def _by_dispersion(self, turn: Turn) -> Held:
        said = await self._ask_with_logprobs(turn, ALTERNATIVES)
        known = (token.alternatives for token in said.tokens if token.alternatives)
        return Held(said, concentration([[logprob for _, logprob in alternatives] for alternatives in known]))

    async def _by_agreement(self, turn: Turn) -> Held:
        """The first answer, and samples that are drawn at the same time."""
        limits = turn.query.options
        budget = Budget(calls=limits.max_calls, usd=limits.max_cost_usd)
        samples = [asyncio.create_task(self._sample(turn, budget)) for _ in range(turn.policy.samples - 1)]
        try:
            said = await self._asker.ask(
                turn.query, turn.expert, turn.fleet, turn.decision, purpose="sample", budget=budget
            )
            others = await asyncio.gather(*samples)
        finally:
            for sample in samples:
                sample.cancel()
            await asyncio.gather(*samples, return_exceptions=True)
        return Held(said, agreement([conclusion_of(said), *(conclusion_of(other) for other in others if other)]))

    async def _by_itself(self, turn: Turn) -> Held:
        """The answer, and what the expert says when it is asked whether that is right."""
        said = await self._asker.ask(turn.query, turn.expert, turn.fleet, turn.decision, purpose="answer")
        if not said.text.strip():
            return Held(said, None)
        try:
            asked = [
                *_conversation(turn),
                {"role": "assistant", "content": said.text},
                *self._prompts.messages("check"),
            ]
            yes = await self._asker.ask_yes(turn.query, asked, turn.expert, turn.fleet, turn.decision, purpose="check")
        except SwitchyardError:  # the record has it
            return Held(said, None)
        return Held(said, yes)

    async def _by_use(self, turn: Turn) -> Held:
        """The answer; it is for certain where it can be used."""
        said = await self._asker.ask(turn.query, turn.expert, turn.fleet, turn.decision, purpose="answer")
        why = why_of_no_use(said, turn.query)
        return Held(said, 1.0 if why is None else 0.0, why)

    async def _ask_with_logprobs(self, turn: Turn, alternatives: int) -> Said:
        query = replace(turn.query, body=with_logprobs(turn.query.body, turn.query.kind, alternatives))
        return await self._asker.ask(query, turn.expert, turn.fleet, turn.decision, purpose="answer")

    async def _sample(self, turn: Turn, budget: Budget) -> Said | None:
        """Another answer, drawn with a temperature; None when it failed. budget: from which a panel's answers are paid together."""
        body = {key: value for key, value in turn.query.body.items() if key not in ("seed", "stream", "stream_options")}
        body["temperature"] = max(SAMPLE_TEMPERATURE, body.get("temperature") or 0.0)
        try:
            query = replace(turn.query, body=body)
            return await self._asker.ask(query, turn.expert, turn.fleet, turn.decision, purpose="sample", budget=budget)
        except SwitchyardError:  # the record has it
            return None


def _conversation(turn: Turn) -> list[dict[str, Any]]:
    """The query as messages."""
    query = turn.query
    if query.kind == "chat":
        return list(query.body["messages"])
    prompt = question_of(Call(query.kind, query.body, query.deadline), turn.expert)
    return [{"role": "user", "content": prompt}]


def why_of_no_use(said: Said, query: Query) -> str | None:
    """Why an answer can't be used, or None. One that calls tools can."""
    if said.tool_calls:
        return None
    return why_unusable(said.text, finish_reason=said.choice.get("finish_reason"), body=query.body)


def conclusion_of(said: Said) -> str:
    """What must be equal for two answers to agree: what they conclude in, or which tools they call with what."""
    if said.tool_calls:
        return msgspec.json.encode([call.get("function") for call in said.tool_calls]).decode()
    return final_answer(said.text)
