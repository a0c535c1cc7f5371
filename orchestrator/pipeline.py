"""The life of a request: planned, bound, answered, recorded. `Pipeline.answer` reads like that list.

    reply = await pipeline.answer(query)
    reply.body                    # or: async for block in reply.events

What is here is the order of things. Feasibility, scores and ranking are in `planning.py`, leases and fallback in
`dispatch.py`, panels in `convening.py`, the record in `recording.py`. It knows neither HTTP nor which engine runs.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

from orchestrator.convening import Convener
from orchestrator.dispatch import Dispatcher
from orchestrator.errors import ExpertError
from orchestrator.fleet import Fleet
from orchestrator.planning import Planner
from orchestrator.recording import charge, close_decision, note_overhead, open_decision
from orchestrator.scheduler.base import Lease, LeaseOutcome, Scheduler
from orchestrator.types import Answer, Decision, Query
from routers.policy import bind

OnEnd = Callable[[BaseException | None], None]
"""What is done when an answer is over: None, or what ended it."""


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
        convener: Convener,
        scheduler: Scheduler,
        record: Callable[[Decision], None],
    ) -> None:
        self._fleet = fleet
        self._planner = planner
        self._dispatcher = dispatcher
        self._convener = convener
        self._scheduler = scheduler
        self._record = record

    async def answer(self, query: Query) -> Reply:
        """Raises `SwitchyardError`; the decision is recorded then, too. Cancelling it cancels the expert."""
        decision = open_decision(query)
        try:
            fleet = self._fleet()
            route = fleet.resolve(query)
            decision.policy = route.name
            if route.panel is not None:
                answer = await self._convener.convene(query, fleet, route, decision)
                return self._reply(query, answer, decision, on_end=_nothing)
            plan = await self._planner.plan(query, fleet, route, decision)
            answer, lease = await self._dispatcher.ask(query, fleet, plan, decision, max_attempts=route.max_attempts)
        except BaseException as error:  # a cancelled request is recorded as well
            self._close(query, decision, error)
            raise
        self._planner.stayed(query, lease.expert)
        settle = partial(self._settle, fleet, lease, answer, decision, time.monotonic())
        return self._reply(query, answer, decision, on_end=settle)

    async def route(self, query: Query) -> Decision:
        """The decision without the call: scores, plan, and who would be bound now. It is not recorded."""
        decision = open_decision(query)
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

    def _reply(self, query: Query, answer: Answer, decision: Decision, on_end: OnEnd) -> Reply:
        """A whole answer is over here; a stream is over when its events are."""
        note_overhead(decision, query)

        def over(failure: BaseException | None) -> None:
            on_end(failure)
            self._close(query, decision, failure)

        if answer.events is not None:
            return Reply(decision, events=Events(answer.events, over))
        over(None)
        return Reply(decision, body=answer.body)

    def _settle(
        self,
        fleet: Fleet,
        lease: Lease,
        answer: Answer,
        decision: Decision,
        began: float,
        failure: BaseException | None,
    ) -> None:
        """Give the lease back, and charge for what was used. A client that left says nothing about the expert."""
        latency_s = decision.attempts[-1].latency_s
        ok = True if failure is None else False if isinstance(failure, ExpertError) else None
        duration_s = latency_s + time.monotonic() - began
        self._scheduler.release(lease, LeaseOutcome(ok, latency_s, duration_s))
        charge(fleet, lease.expert, answer, decision)

    def _close(self, query: Query, decision: Decision, failure: BaseException | None) -> None:
        close_decision(decision, query, failure)
        self._record(decision)


def _nothing(failure: BaseException | None) -> None:
    """A panel's members have given their leases back by themselves."""


class Events:
    """A stream's blocks, relayed untouched; `over` is called exactly once: when they end, fail, or are closed unread."""

    __slots__ = ("_events", "_over")

    def __init__(self, events: AsyncGenerator[bytes, None], over: OnEnd) -> None:
        self._events = events
        self._over: OnEnd | None = over

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
