"""The life of a request: planned, bound, answered, recorded. `Pipeline.answer` reads like that list.

    reply = await pipeline.answer(query)
    reply.body                    # or: async for block in reply.events

What is here is the order of things. Feasibility, scores and ranking are in `planning.py`, leases and fallback in
`dispatch.py`, cascades in `cascading.py`, adaptive depth in `deepening.py`, the record in `recording.py`; a panel is an expert
like any other (`orchestrator/aggregators/panel.py`). It knows neither HTTP nor which engine runs.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

from orchestrator.fleet.snapshot import Fleet, Route
from orchestrator.ledger.base import Ledger
from orchestrator.prompts import Prompts
from orchestrator.routing.assessing import Assessor
from orchestrator.routing.cascading import Cascader
from orchestrator.routing.deepening import Deepener
from orchestrator.routing.dispatch import Dispatcher
from orchestrator.routing.judging import Judge
from orchestrator.routing.planning import Planner
from orchestrator.routing.recording import close_decision, note_overhead, open_decision, settle
from orchestrator.routing.scoring import Sessions
from orchestrator.routing.shadow import Shadows
from orchestrator.scheduler.base import Lease, Leases
from orchestrator.types import Answer, Decision, Query
from routers.policy import bind

OnEnd = Callable[[BaseException | None], None]
"""What is done when an answer is over: None, or what ended it."""
Present = Callable[[Decision, bytes], bytes]
"""A whole answer as whoever asked wants it. Raises `SwitchyardError` when it can't be said so."""


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


def _as_it_is(decision: Decision, body: bytes) -> bytes:
    return body


class Pipeline:
    """fleet: the current snapshot; a request keeps the one it began with. record: called once with every finished decision."""

    def __init__(
        self,
        *,
        fleet: Callable[[], Fleet],
        planner: Planner,
        dispatcher: Dispatcher,
        cascader: Cascader,
        deepener: Deepener,
        scheduler: Leases,
        record: Callable[[Decision], None],
    ) -> None:
        self._fleet = fleet
        self._planner = planner
        self._dispatcher = dispatcher
        self._cascader = cascader
        self._deepener = deepener
        self._scheduler = scheduler
        self._shadows = Shadows(record)

    async def answer(self, query: Query, present: Present = _as_it_is) -> Reply:
        """Raises `SwitchyardError`; the decision is recorded then, too. Cancelling it cancels the expert."""
        decision = open_decision(query)
        try:
            fleet = self._fleet()
            route = fleet.resolve(query)
            decision.policy = route.policy_name
            answer, lease = await self._ask(query, fleet, route, decision)
        except BaseException as error:  # a cancelled request is recorded as well
            self._close(query, decision, error)
            raise
        if lease is None:
            return self._reply(query, answer, decision, present, on_end=_nothing)
        on_end = partial(settle, self._scheduler, fleet, lease, answer, decision, time.monotonic())
        return self._reply(query, answer, decision, present, on_end=on_end)

    async def _ask(self, query: Query, fleet: Fleet, route: Route, decision: Decision) -> tuple[Answer, Lease | None]:
        """An answer that begins, or that is whole and without a lease.

        With a collection it is by the expert whose it is: another's, that was too late to create it, is dropped.
        """
        while True:
            plan = await self._planner.plan(query, fleet, route, decision)
            self._shadows.start(query, fleet, route, decision)
            if plan.rungs or plan.gate:
                holder = self._deepener if plan.gate else self._cascader
                answer, held = await holder.ask(query, fleet, route, plan, decision)
                self._planner.stayed(query, str(decision.expert))
                return answer, held
            answer, lease = await self._dispatcher.ask(query, fleet, plan, decision, max_attempts=route.max_attempts)
            began, pinned = time.monotonic(), False
            try:
                pinned = await self._planner.pin(query, lease.expert)
            finally:
                if not pinned:
                    settle(self._scheduler, fleet, lease, answer, decision, began, None)
            if pinned:
                self._planner.stayed(query, lease.expert)
                return answer, lease

    async def route(self, query: Query) -> Decision:
        """The decision without the call: scores, plan, and who would be bound now. It is not recorded."""
        decision = open_decision(query)
        fleet = self._fleet()
        route = fleet.resolve(query)
        decision.policy = route.policy_name
        plan = await self._planner.plan(query, fleet, route, decision)
        weighed = self._scheduler.weigh(decision.plan)
        decision.waits_s, decision.imposed_s = weighed
        decision.expert = plan.rungs[0] if plan.rungs else bind(plan.choices, weighed.prices_s, plan.mu)
        return decision

    def _reply(self, query: Query, answer: Answer, decision: Decision, present: Present, on_end: OnEnd) -> Reply:
        """A whole answer is over here; a stream is over when its events are."""
        note_overhead(decision, query)

        def over(failure: BaseException | None) -> None:
            on_end(failure)
            self._close(query, decision, failure)

        if answer.events is not None:
            return Reply(decision, events=Events(answer.events, over))
        assert answer.body is not None
        on_end(None)
        try:
            body = present(decision, answer.body)
        except Exception as failure:  # whoever asked gets an error, and the record says so
            self._close(query, decision, failure)
            raise
        self._close(query, decision, None)
        return Reply(decision, body=body)

    def _close(self, query: Query, decision: Decision, failure: BaseException | None) -> None:
        close_decision(decision, query, failure)
        self._shadows.record(decision)


def make_pipeline(
    *,
    fleet: Callable[[], Fleet],
    scheduler: Leases,
    ledger: Ledger,
    dice: random.Random,
    prompts: Prompts,
    record: Callable[[Decision], None],
) -> Pipeline:
    """A pipeline with parts of its own. prompts: those of policies. The rest is said at `Pipeline`, `Planner` and `Dispatcher`."""
    dispatcher = Dispatcher(scheduler, dice)
    return Pipeline(
        fleet=fleet,
        planner=Planner(ledger, Sessions(), dice, Assessor(dispatcher.asker)),
        dispatcher=dispatcher,
        cascader=Cascader(dispatcher, Judge(dispatcher.asker, prompts)),
        deepener=Deepener(dispatcher),
        scheduler=scheduler,
        record=record,
    )


def _nothing(failure: BaseException | None) -> None:
    """Whoever's answer was held has given the lease back."""


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
        """Abort the expert, if the stream has not ended by itself. It is recorded with the exception that is on its way, if any."""
        failure = sys.exception() or GeneratorExit()
        try:
            await self._events.aclose()
        finally:
            self._end(failure)

    def _end(self, failure: BaseException | None) -> None:
        if self._over is not None:
            over, self._over = self._over, None
            over(failure)
