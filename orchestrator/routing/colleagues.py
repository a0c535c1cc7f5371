"""How a panel reaches its members on behalf of a query: through the dispatcher, each under a lease of its own.

    colleagues = QueryColleagues(asker, scheduler, query, fleet, decision, budget)
    heard = await colleagues.ask("small", {"messages": [...]}, purpose="answer", budget=budget)

It implements `orchestrator.aggregators.colleagues.Colleagues`. Whatever is asked is in the decision's attempts, with its cost. Not
here: who is asked what (`orchestrator/aggregators/`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from orchestrator.aggregators.budget import Budget
from orchestrator.aggregators.colleagues import Heard
from orchestrator.config import ExpertBase, PanelExpert
from orchestrator.errors import ExpertRejected
from orchestrator.fleet.snapshot import Fleet
from orchestrator.routing.feasibility import infeasible_because, out_of_scope, seated
from orchestrator.routing.pricing import most_usd
from orchestrator.routing.recording import charge
from orchestrator.scheduler.base import LeaseOutcome, LeaseRequest, Leases
from orchestrator.tokens import DEFAULT_MAX_TOKENS, estimate_message
from orchestrator.types import Answer, Attempt, Capability, Decision, Endpoint, Purpose, Query, Statement, Usage
from routers.policy import Choice

if TYPE_CHECKING:
    from orchestrator.routing.asking import Asker

CALLED_BY_NAME = "called by name"
"""The reason for whom the client named."""


@dataclass(slots=True)
class QueryColleagues:
    """Of one query, as the members of a panel are asked it (`feasibility.for_members`)."""

    asker: Asker
    scheduler: Leases
    query: Query
    fleet: Fleet
    decision: Decision
    budget: Budget | None = None

    def spec(self, expert: str) -> ExpertBase:
        return self.fleet.specs[expert]

    def seated(self, panel: PanelExpert) -> tuple[str, ...]:
        feasible, reasons = seated(panel, self.query)
        self.decision.infeasible = self.decision.infeasible | reasons
        return tuple(spec.name for spec in feasible)

    def infeasible_because(self, expert: str, body: Mapping[str, Any]) -> str | None:
        return infeasible_because(self.fleet.specs[expert], self._query(expert, body))

    def most_usd(self, expert: str, body: Mapping[str, Any]) -> float:
        return most_usd(self.fleet.specs[expert], self._query(expert, body))

    def by_wait(self, experts: Sequence[str]) -> tuple[str, ...]:
        waits = self.scheduler.weigh(experts).waits_s
        return tuple(sorted(experts, key=lambda expert: waits.get(expert, 0.0)))

    async def ask(self, expert: str, body: Mapping[str, Any], *, purpose: Purpose, budget: Budget) -> Heard:
        self._check_scope(expert)
        query = self._query(expert, body)
        said = await self.asker.ask(query, expert, self.fleet, self.decision, purpose=purpose, budget=budget)
        alternatives = dict(said.tokens[0].alternatives) if said.tokens else {}
        return Heard(said.text, said.usd, said.choice.get("finish_reason"), alternatives)

    async def open(self, expert: str, body: Mapping[str, Any], *, purpose: Purpose, budget: Budget) -> Answer:
        self._check_scope(expert)
        query = self._query(expert, body)
        return await self.asker.open(query, expert, self.fleet, self.decision, purpose=purpose, budget=budget)

    async def scores(self, router: str, experts: Sequence[str], text: str | None = None) -> Mapping[str, float]:
        scorer = self.fleet.scorers[router, self.query.kind]
        scores = await scorer.scores(self.query.text if text is None else text, self.query.remaining_s)
        return {expert: scores[expert] for expert in experts if expert in scores}

    @asynccontextmanager
    async def seat(self, expert: str, *, purpose: Purpose) -> AsyncIterator[Endpoint | None]:
        self._check_scope(expert)
        began = time.monotonic()
        lease = await self.scheduler.acquire(LeaseRequest.of(self.query, (Choice(expert, 0.0),), mu=0.0))
        seated, ok = time.monotonic(), False
        try:
            with self._on_record(expert, purpose, began, lease.wait_s):
                yield lease.endpoint
            ok = True
        finally:
            self.scheduler.release(lease, LeaseOutcome(ok=ok or None, duration_s=time.monotonic() - seated))

    @contextmanager
    def share(self, expert: str, *, purpose: Purpose) -> Iterator[None]:
        self._check_scope(expert)
        with self._on_record(expert, purpose, time.monotonic(), 0.0):
            yield

    @contextmanager
    def _on_record(self, expert: str, purpose: Purpose, began: float, wait_s: float) -> Iterator[None]:
        """An attempt that is over with the context. began: monotonic seconds, when the wait began."""
        seated, ok = time.monotonic(), False
        attempts, place = self.decision.attempts, len(self.decision.attempts)
        began_s = began - self.query.received_at
        attempts.append(Attempt(expert, "cancelled", wait_s, 0.0, purpose=purpose, began_s=began_s))
        try:
            yield
            ok = True
        finally:
            spent_s = time.monotonic() - seated
            attempts[place] = replace(attempts[place], outcome="ok" if ok else "cancelled", latency_s=spent_s)

    def _check_scope(self, expert: str) -> None:
        """Raises `ExpertRejected` for one that the key or the request leaves out; a panel's members are asked for themselves."""
        spec = self.fleet.specs[expert]
        if not spec.composite and (reason := out_of_scope(spec, self.query)):
            raise ExpertRejected(expert, f"{expert} {reason}", status=403, code="forbidden", param="model")

    def note(self, statement: Statement) -> None:
        self.decision.transcript.append(statement)

    def say(self, progress: str) -> None:
        if self.query.tell is not None:
            self.query.tell(progress)

    def charge(self, expert: str, usage: Usage) -> None:
        charge(self.fleet, expert, Answer(usage=usage), self.decision)

    def conclude(self, reason: str, details: Mapping[str, Any]) -> None:
        """After why the panel was chosen, where it was."""
        chosen, self.decision.details = self.decision.reason, dict(details)
        self.decision.reason = f"{chosen}; {reason}" if chosen and chosen != CALLED_BY_NAME else reason

    @property
    def id(self) -> str:
        return self.query.id

    @property
    def usage(self) -> Usage:
        return Usage(self.decision.prompt_tokens, self.decision.completion_tokens)

    def _query(self, expert: str, body: Mapping[str, Any]) -> Query:
        """The query as `expert` is asked it: the client's own words, or a chat's body of the panel's making."""
        query = self.query
        if "messages" not in body or body["messages"] is query.body.get("messages"):
            return replace(query, model=expert, body={**body, "model": expert}, needs=_needs(query, body))
        tokens = sum(estimate_message(message) for message in body["messages"])
        asked = body.get("max_tokens") or body.get("max_completion_tokens") or DEFAULT_MAX_TOKENS
        return replace(
            query,
            kind="chat",
            model=expert,
            body={**body, "model": expert},
            prompt_tokens=tokens,
            other_prompt_tokens=0,
            max_tokens=asked,
            num_answers=body.get("n") or 1,
            needs=_needs(query, body),
        )


def _needs(query: Query, body: Mapping[str, Any]) -> frozenset[Capability]:
    """What answering this takes: pictures if the client showed some, the rest by the body."""
    needs: set[Capability] = set(query.needs & {"vision"})
    if body.get("stream"):
        needs.add("streaming")
    if body.get("logprobs"):
        needs.add("logprobs")
    if (body.get("response_format") or {}).get("type", "text") != "text":
        needs.add("json_schema")
    return frozenset(needs)
