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

from orchestrator.aggregators.base import MemberAnswer
from orchestrator.aggregators.registry import make_aggregator
from orchestrator.dispatch import Dispatcher
from orchestrator.errors import RequestError
from orchestrator.experts.inputs import question_of
from orchestrator.experts.render import text_answer
from orchestrator.feasibility import nothing_feasible, split_feasible
from orchestrator.fleet import Fleet, Route
from orchestrator.panel import run_panel
from orchestrator.recording import charge
from orchestrator.scheduler.base import LeaseOutcome, Scheduler
from orchestrator.types import Answer, Call, Decision, Query
from routers.policy import Choice, Plan

# What only the panel's own answer can have.
_NOT_FOR_MEMBERS = ("stream", "stream_options", "n")


class Convener:
    """Runs panels. `dispatcher` asks the members, each with its own retries."""

    def __init__(self, dispatcher: Dispatcher, scheduler: Scheduler) -> None:
        self._dispatcher = dispatcher
        self._scheduler = scheduler

    async def convene(self, query: Query, fleet: Fleet, route: Route, decision: Decision) -> Answer:
        """The panel's answer. Raises `AllExpertsFailed` without a quorum, `RequestError` when no member is feasible.

        A completion must have one prompt, and that as a text: `ExpertRejected` otherwise.
        """
        assert route.panel is not None
        decision.mode = "panel"
        if query.kind not in ("chat", "completion"):
            message = f"a panel answers in words, and this is a request for {query.kind}"
            raise RequestError(message, param="model", code="no_feasible_expert")
        call = Call(query.kind, query.body, query.deadline)
        question = question_of(call, route.name)
        feasible, decision.infeasible = split_feasible((fleet.specs[name] for name in route.experts), query)
        members = tuple(spec.name for spec in feasible)
        if len(members) < route.panel.quorum:
            raise nothing_feasible(decision.infeasible, query)
        decision.plan = members
        body = {key: value for key, value in query.body.items() if key not in _NOT_FOR_MEMBERS}

        async def ask(expert: str) -> MemberAnswer:
            return await self._ask(replace(query, model=expert, body=body), fleet, route, decision)

        panel = route.panel.model_copy(update={"experts": members})
        combined = await run_panel(panel, question, ask, make_aggregator(panel.aggregator))
        decision.expert = route.name
        decision.reason = f"{panel.aggregator}: {combined.why}; rests on {', '.join(combined.who)}"
        return text_answer(call, route.name, combined.text)

    async def _ask(self, query: Query, fleet: Fleet, route: Route, decision: Decision) -> MemberAnswer:
        """One member's whole answer, as text."""
        plan = Plan((Choice(query.model, 0.0),))
        answer, lease = await self._dispatcher.ask(query, fleet, plan, decision, max_attempts=route.max_attempts)
        latency_s = next(a.latency_s for a in reversed(decision.attempts) if a.expert == query.model)
        self._scheduler.release(lease, LeaseOutcome(True, latency_s, latency_s))
        charge(fleet, lease.expert, answer, decision)
        return MemberAnswer(query.model, _text(msgspec.json.decode(answer.body or b"{}")))


def _text(body: Mapping[str, Any]) -> str:
    """What the first choice of a chat or plain completion says; empty when it says nothing."""
    for choice in body.get("choices", ()):
        return (choice.get("message") or {}).get("content") or choice.get("text") or ""
    return ""
