"""The life of a request: planned, bound, answered, recorded. `Pipeline.answer` reads like that list.

    reply = await pipeline.answer(query)
    reply.body                    # or: async for block in reply.events

What is here is the order of things. Feasibility, scores and ranking are in `planning.py`, leases and fallback in
`dispatch.py`, panels in `panel.py`. It knows neither HTTP nor which engine runs.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Self

from orchestrator.dispatch import Dispatcher
from orchestrator.errors import ExpertError, SwitchyardError
from orchestrator.fleet import Fleet
from orchestrator.panel import convene
from orchestrator.planning import Planner
from orchestrator.scheduler.base import Lease, LeaseOutcome, Scheduler
from orchestrator.types import Answer, Decision, Query
from routers.policy import bind


@dataclass(slots=True)
class Reply:
    """What a query got: a whole `body`, or the `events` of a stream (see `types.Answer`), and the decision behind it.

    The decision is recorded when the body is there, or when the events end, fail or are closed: close what you don't read.
    """

    decision: Decision
    body: bytes | None = None
    events: Events | None = None

    async def aclose(self) -> None:
        if self.events is not None:
            await self.events.aclose()


class Pipeline:
    """fleet: the current snapshot; a request keeps the one it began with. record: called once with every finished decision."""

    def __init__(
        self,
        *,
        fleet: Callable[[], Fleet],
        planner: Planner,
        dispatcher: Dispatcher,
        scheduler: Scheduler,
        record: Callable[[Decision], None],
    ) -> None:
        self._fleet = fleet
        self._planner = planner
        self._dispatcher = dispatcher
        self._scheduler = scheduler
        self._record = record

    async def answer(self, query: Query) -> Reply:
        """Raises `SwitchyardError`; the decision is recorded then, too. Cancelling it cancels the expert."""
        decision = _open(query)
        try:
            fleet = self._fleet()
            route = fleet.resolve(query)
            decision.policy = route.name
            if route.panel is not None:
                body = await convene(query, fleet, route.panel, decision, self._dispatcher, self._scheduler)
                return self._finished(query, decision, body)
            plan = await self._planner.plan(query, fleet, route, decision)
            answer, lease = await self._dispatcher.ask(query, fleet, plan, decision, max_attempts=route.max_attempts)
        except BaseException as error:  # cancellation is recorded as well
            self._finish(query, decision, error)
            raise
        self._planner.stayed(query, lease.expert)
        return self._reply(query, fleet, answer, lease, decision)

    async def route(self, query: Query) -> Decision:
        """The decision without the call: scores, plan, and who would be bound now. It is not recorded."""
        decision = _open(query)
        fleet = self._fleet()
        route = fleet.resolve(query)
        decision.policy = route.name
        if route.panel is not None:
            decision.mode, decision.plan, decision.reason = "panel", route.panel.experts, "called by name"
            return decision
        plan = await self._planner.plan(query, fleet, route, decision)
        decision.waits_s = self._scheduler.waits(decision.plan)
        decision.expert = bind(plan.choices, decision.waits_s, plan.mu)
        return decision

    def _reply(self, query: Query, fleet: Fleet, answer: Answer, lease: Lease, decision: Decision) -> Reply:
        """A whole answer is over here; a stream is over when its events are."""
        latency_s = decision.attempts[-1].latency_s
        in_experts_s = sum(attempt.wait_s + attempt.latency_s for attempt in decision.attempts)
        decision.overhead_ms = (time.monotonic() - query.received_at - in_experts_s) * 1000
        began = time.monotonic()

        def over(failure: BaseException | None) -> None:
            ok = None if failure and not isinstance(failure, ExpertError) else failure is None
            duration_s = latency_s + time.monotonic() - began
            self._scheduler.release(lease, LeaseOutcome(ok, latency_s, duration_s))
            charge(fleet, lease.expert, answer, decision)
            self._finish(query, decision, failure)

        if answer.events is not None:
            return Reply(decision, events=Events(answer.events, over))
        over(None)
        return Reply(decision, body=answer.body)

    def _finish(self, query: Query, decision: Decision, failure: BaseException | None) -> None:
        """Complete the record and hand it on."""
        decision.wait_ms = sum(attempt.wait_s for attempt in decision.attempts) * 1000
        decision.duration_ms = (time.monotonic() - query.received_at) * 1000
        decision.status, decision.error = _status(failure)
        self._record(decision)


class Events:
    """A stream's blocks, relayed untouched; `over` is called exactly once: when they end, fail, or are closed unread."""

    __slots__ = ("_events", "_over")

    def __init__(self, events: AsyncGenerator[bytes, None], over: Callable[[BaseException | None], None]) -> None:
        self._events = events
        self._over: Callable[[BaseException | None], None] | None = over

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._events.__anext__()
        except StopAsyncIteration:
            self._end(None)
            raise
        except BaseException as failure:  # whatever ends the stream ends the lease
            self._end(failure)
            raise

    async def aclose(self) -> None:
        """Abort the expert, if the stream has not ended by itself."""
        try:
            await self._events.aclose()
        finally:
            self._end(GeneratorExit())

    def _end(self, failure: BaseException | None) -> None:
        if self._over is not None:
            over, self._over = self._over, None
            over(failure)


def charge(fleet: Fleet, expert: str, answer: Answer, decision: Decision) -> None:
    """Add what an answer used to the decision, at the expert's prices."""
    usage, price = answer.usage, fleet.specs[expert].price
    decision.prompt_tokens += usage.prompt_tokens
    decision.completion_tokens += usage.completion_tokens
    decision.cost_usd += (usage.prompt_tokens * price.input + usage.completion_tokens * price.output) / 1e6


def _open(query: Query) -> Decision:
    """A decision with what is known before anything is decided."""
    return Decision(
        id=query.id,
        created_at=time.time(),
        kind=query.kind,
        model=query.model,
        policy="",
        text=query.text,
        key_id=query.caller.key_id,
        session=query.session,
    )


def _status(failure: BaseException | None) -> tuple[int, str | None]:
    """The HTTP status a decision ended with. 499, as nginx has it: the client left before the answer was over."""
    if failure is None:
        return 200, None
    if isinstance(failure, SwitchyardError):
        return failure.status, failure.message
    return (499, "the client left") if not isinstance(failure, Exception) else (503, type(failure).__name__)
