"""Binding and asking: lease after lease until an expert has begun to answer, or nobody is left to ask.

    answer, lease = await dispatcher.ask(query, fleet, plan, decision)

The caller gives the lease back when the answer is over. Who may be tried after a failure is decided in `fallback.py`; what is
tried never changes once the first content byte is in hand, because `Expert.answer` returns only then.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

from orchestrator.aggregators.budget import Budget
from orchestrator.config import PanelExpert
from orchestrator.errors import (
    AllExpertsFailed,
    ContextTooLong,
    DeadlineExceeded,
    ExpertError,
    ExpertRejected,
    NoCapacity,
    NoQuorum,
    RateLimited,
    RequestError,
    SwitchyardError,
)
from orchestrator.fleet.snapshot import Fleet
from orchestrator.routing.asking import Asker
from orchestrator.routing.colleagues import QueryColleagues
from orchestrator.routing.fallback import Fallback
from orchestrator.routing.feasibility import for_members, nothing_feasible
from orchestrator.scheduler.base import Lease, LeaseOutcome, LeaseRequest, Leases
from orchestrator.types import Answer, Attempt, Call, Decision, Purpose, Query
from routers.policy import Plan, forgone, propensities

# A rejection with one of these codes says "not I" rather than "nobody".
_ANOTHER_MAY = frozenset({"context_length_exceeded", "not_applicable"})


class Dispatcher:
    """`dice` draws the jitter of back-offs."""

    def __init__(self, scheduler: Leases, dice: random.Random) -> None:
        self._scheduler = scheduler
        self._dice = dice
        self.asker = Asker(self, scheduler)

    async def ask(
        self,
        query: Query,
        fleet: Fleet,
        plan: Plan,
        decision: Decision,
        *,
        max_attempts: int,
        budget: Budget | None = None,
    ) -> tuple[Answer, Lease]:
        """The first answer that begins. Raises `SwitchyardError` when none does, before the query's deadline.

        budget: what a panel that is asked spends from, besides its own.
        """
        budget = _limits(query) if budget is None else budget
        fallback = Fallback(plan.choices, max_attempts)
        failures: list[ExpertError] = []
        tried: tuple[str, ...] = ()
        backed_off_s = 0.0
        while (delay_s := fallback.delay_s(time.monotonic())) is not None and delay_s < query.remaining_s:
            if delay_s:
                began = time.monotonic()
                await asyncio.sleep(delay_s)
                backed_off_s += time.monotonic() - began
                continue  # timers may fire a little early
            request = LeaseRequest.of(query, fallback.ready(time.monotonic()), plan.mu, tried)
            try:
                lease = await self._acquire(request, query, decision, backed_off_s)
                if lease.node:
                    tried += (lease.node,)
                prices_s = lease.weighed.prices_s
                decision.waits_s.update(lease.weighed.waits_s)
                decision.imposed_s.update(lease.weighed.imposed_s)
                decision.regret, decision.saved_s = forgone(request.candidates, prices_s, lease.expert)
                found = propensities(plan, prices_s, lease.expert)
                decision.propensity, decision.propensities = found[lease.expert], {} if plan.stays else found
                return await self._attempt(query, fleet, lease, decision, backed_off_s, budget), lease
            except ExpertError as error:
                backed_off_s = 0.0
                failures.append(error)
                if isinstance(error, ExpertRejected) and error.code not in _ANOTHER_MAY:
                    break
                fallback.failed(error, time.monotonic(), uniform=self._dice.random())
        raise _verdict(query, failures, decision) from (failures[-1] if failures else None)

    async def _acquire(self, request: LeaseRequest, query: Query, decision: Decision, backed_off_s: float) -> Lease:
        """A lease. An expert that could not be brought into memory for it is an attempt that failed."""
        began = time.monotonic()
        try:
            return await self._scheduler.acquire(request)
        except ExpertError as error:
            now = time.monotonic()
            wait_s = backed_off_s + now - began
            began_s = now - wait_s - query.received_at
            decision.attempts.append(Attempt(error.expert, error.kind, wait_s, 0.0, error.message, began_s=began_s))
            raise

    async def _attempt(
        self,
        query: Query,
        fleet: Fleet,
        lease: Lease,
        decision: Decision,
        backed_off_s: float,
        budget: Budget | None,
    ) -> Answer:
        """One attempt under one lease, which is given back here unless the expert has begun to answer."""
        decision.expert = lease.expert
        started = time.monotonic()
        failure: ExpertError | None = None
        outcome = "cancelled"
        spec, colleagues = fleet.specs[lease.expert], None
        if isinstance(spec, PanelExpert):
            asked = for_members(spec, query)
            colleagues = QueryColleagues(self.asker, self._scheduler, asked, fleet, decision, budget)
        try:
            call = Call(query.kind, query.body, query.deadline, lease.endpoint, colleagues)
            answer = await fleet.experts[lease.expert].answer(call)
            outcome = "ok"
            return answer
        except ExpertError as error:
            failure = error
            raise
        finally:
            latency_s = time.monotonic() - started
            if failure is not None:
                outcome = "rejected" if isinstance(failure, ExpertRejected) else failure.kind
            message = failure.message if failure else ""
            wait_s = backed_off_s + lease.wait_s
            purpose: Purpose = "panel" if spec.composite else "answer"
            began_s = started - wait_s - query.received_at
            attempt = Attempt(lease.expert, outcome, wait_s, latency_s, message, purpose=purpose, began_s=began_s)
            decision.attempts.append(attempt)
            if outcome != "ok":
                self._scheduler.release(lease, _outcome(None if spec.composite else failure, latency_s))


def _limits(query: Query) -> Budget | None:
    """What the request allows all panels together that are tried for it."""
    calls, usd = query.options.max_calls, query.options.max_cost_usd
    return None if calls is None and usd is None else Budget(calls=calls, usd=usd)


def _outcome(failure: ExpertError | None, duration_s: float) -> LeaseOutcome:
    """A failed or cancelled attempt, as the scheduler hears of it."""
    if failure is None or isinstance(failure, ExpertRejected):
        return LeaseOutcome(ok=None, duration_s=duration_s)
    reached = failure.kind != "unreachable"
    return LeaseOutcome(ok=False, duration_s=duration_s, retry_after_s=failure.retry_after_s, reached=reached)


def _verdict(query: Query, failures: Sequence[ExpertError], decision: Decision) -> SwitchyardError:
    """What the client is told when nobody answered: a rejection as it came, else the most useful truth."""
    if len(failures) == 1 and isinstance(failures[0], NoQuorum):
        return _common(failures[0].causes) or AllExpertsFailed(failures[0].message)
    rejections = [f for f in failures if isinstance(f, ExpertRejected)]
    if rejections and len(rejections) == len(failures):
        last = rejections[-1]
        if decision.infeasible and last.code == "not_applicable":  # why the others could not be asked says more
            return nothing_feasible(decision.infeasible | {last.expert: f"declined: {last.message}"}, query)
        if last.code == "context_length_exceeded":
            return ContextTooLong(last.message, param=last.param)
        error = RequestError(last.message, param=last.param, code=last.code)
        error.status = last.status
        return error
    if query.remaining_s <= 0:
        return DeadlineExceeded("no expert answered before the request's deadline")
    if failures and all(f.kind == "rate_limited" for f in failures):
        retry_after_s = min(f.retry_after_s or 1.0 for f in failures)
        return RateLimited("every expert that could serve this is rate-limited", retry_after_s=retry_after_s)
    detail = "; ".join(f"{f.expert}: {f.kind}" for f in failures)
    return AllExpertsFailed(f"every expert that could serve this failed ({detail})")


def _common(causes: Sequence[SwitchyardError | None]) -> SwitchyardError | None:
    """The error that stands for all of a panel's. One that ran out of time speaks for a request that has none left."""
    for cause in causes:
        if isinstance(cause, DeadlineExceeded):
            return cause
    for kind in (RateLimited, NoCapacity, RequestError):
        alike = [cause for cause in causes if isinstance(cause, kind)]
        if alike and len(alike) == len(causes):
            return alike[0]
    return None
