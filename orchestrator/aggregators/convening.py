"""A panel's request: every feasible member is asked under a lease of its own, and their answers become one.

    answer = await convener.convene(query, fleet, route, decision)      # as one expert's answer, streamed if asked for

What the members said and cost is in the decision's attempts. Who is waited for is `panel.py`'s, how answers are combined the
aggregator's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from orchestrator.aggregators.base import Combined, MemberAnswer
from orchestrator.aggregators.panel import run_panel
from orchestrator.aggregators.registry import make_aggregator
from orchestrator.config import PanelSpec
from orchestrator.errors import RequestError
from orchestrator.experts.inputs import question_of
from orchestrator.experts.render import text_answer
from orchestrator.fleet.snapshot import Fleet, Route
from orchestrator.routing.dispatch import Dispatcher
from orchestrator.routing.feasibility import nothing_feasible, split_feasible
from orchestrator.routing.recording import charge
from orchestrator.scheduler.base import LeaseOutcome, Scheduler
from orchestrator.types import Answer, Call, Decision, Query, Usage
from routers.policy import Choice, Plan

# What only the panel's own answer can have.
_NOT_FOR_MEMBERS = ("stream", "stream_options", "n")


class Convener:
    """Runs panels. `dispatcher` asks the members, each with its own retries."""

    def __init__(self, dispatcher: Dispatcher, scheduler: Scheduler) -> None:
        self._dispatcher = dispatcher
        self._scheduler = scheduler

    async def convene(self, query: Query, fleet: Fleet, route: Route, decision: Decision) -> Answer:
        """The panel's answer, which costs what its members used. Raises what `seat` and `run_panel` raise.

        A completion must have one prompt, and that as a text: `ExpertRejected` otherwise.
        """
        panel = self.seat(query, fleet, route, decision)
        call = Call(query.kind, query.body, query.deadline)
        question = question_of(call, route.name)
        body = {key: value for key, value in query.body.items() if key not in _NOT_FOR_MEMBERS}

        async def ask(expert: str) -> MemberAnswer:
            return await self._ask(replace(query, model=expert, body=body), fleet, route, decision)

        combined = await run_panel(panel, question, ask, make_aggregator(panel.aggregator))
        decision.expert = route.name
        decision.reason = _reason(panel.aggregator, combined)
        usage = Usage(decision.prompt_tokens, decision.completion_tokens)
        return text_answer(call, route.name, combined.text, usage)

    @staticmethod
    def seat(query: Query, fleet: Fleet, route: Route, decision: Decision) -> PanelSpec:
        """The panel with those members that can serve `query`, put down in `decision`.

        Raises `RequestError` when they are no quorum, and for what only a single expert's answer can have.
        """
        assert route.panel is not None
        decision.mode, decision.reason = "panel", "called by name"
        if query.kind not in ("chat", "completion"):
            raise _refusal(f"a panel answers in words, and this is a request for {query.kind}", "model")
        for name in ("tools", "functions", "logprobs"):
            if query.body.get(name) or (name == "logprobs" and name in query.needs):
                raise _refusal(f"a panel's answer is made of several, which {name} can't be; call one expert", name)
        specs = (fleet.specs[name] for name in route.experts)
        feasible, decision.infeasible = split_feasible(specs, query, together=True)
        decision.plan = tuple(spec.name for spec in feasible)
        if len(decision.plan) < route.panel.quorum:
            raise nothing_feasible(decision.infeasible, query)
        return route.panel.model_copy(update={"experts": decision.plan})

    async def _ask(self, query: Query, fleet: Fleet, route: Route, decision: Decision) -> MemberAnswer:
        """One member's whole answer, as text."""
        plan = Plan((Choice(query.model, 0.0),))
        answer, lease = await self._dispatcher.ask(query, fleet, plan, decision, max_attempts=route.max_attempts)
        latency_s = next(a.latency_s for a in reversed(decision.attempts) if a.expert == query.model)
        self._scheduler.release(lease, LeaseOutcome(ok=True, duration_s=latency_s))
        charge(fleet, lease.expert, answer, decision)
        return MemberAnswer(query.model, answer_text(msgspec.json.decode(answer.body or b"{}")))


def _refusal(message: str, param: str) -> RequestError:
    return RequestError(message, param=param, code="no_feasible_expert")


def _reason(aggregator: str, combined: Combined) -> str:
    """How the answer came about, and why members are missing from it."""
    reason = f"{aggregator}: {combined.why}; rests on {', '.join(combined.who)}"
    if combined.missing:
        reason += f"; without {', '.join(f'{expert} ({why})' for expert, why in combined.missing.items())}"
    return reason


def answer_text(body: Mapping[str, Any]) -> str:
    """What the first choice of a chat or plain completion says; empty when it says nothing."""
    for choice in body.get("choices", ()):
        return (choice.get("message") or {}).get("content") or choice.get("text") or ""
    return ""
