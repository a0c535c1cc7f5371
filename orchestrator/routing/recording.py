"""How a decision is opened, charged and closed: what the ledger will know of a request.

decision = open_decision(query)
charge(fleet, "smollm2", answer, decision)
close_decision(decision, query, failure=None)
"""

from __future__ import annotations

import asyncio
import time

from msgspec.structs import replace

from orchestrator.errors import ExpertError, SwitchyardError
from orchestrator.fleet.snapshot import Fleet
from orchestrator.routing.pricing import cost_usd
from orchestrator.scheduler.base import Lease, LeaseOutcome, Leases
from orchestrator.types import Answer, Decision, Purpose, Query

CLIENT_LEFT = 499
"""The status of a request whose client left before the answer was over, as nginx has it."""


def open_decision(query: Query) -> Decision:
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


def charge(fleet: Fleet, expert: str, answer: Answer, decision: Decision) -> None:
    """Add what an answer used to the decision and to the expert's last attempt, at the expert's prices.

    What an expert that is made of others used, they have been charged for.
    """
    if fleet.specs[expert].composite:
        return
    usage, price = answer.usage, fleet.specs[expert].price
    cost = cost_usd(price, usage.prompt_tokens, usage.completion_tokens)
    decision.prompt_tokens += usage.prompt_tokens
    decision.completion_tokens += usage.completion_tokens
    decision.cost_usd += cost
    if cost:
        last = last_attempt(decision, expert)
        decision.attempts[last] = replace(decision.attempts[last], cost_usd=cost)


def last_attempt(decision: Decision, expert: str) -> int:
    """Where the attempt stands that `expert` answered in."""
    attempts = decision.attempts
    return next(i for i in range(len(attempts) - 1, -1, -1) if attempts[i].expert == expert)


def settle(
    scheduler: Leases,
    fleet: Fleet,
    lease: Lease,
    answer: Answer,
    decision: Decision,
    began: float,
    failure: BaseException | None,
) -> None:
    """Give the lease back, and charge for what was used. A client that left says nothing about the expert.

    began: when the answer did. failure: what ended it, if it did not end well. The expert's last attempt is the one that answered.
    """
    last = last_attempt(decision, lease.expert)
    latency_s = decision.attempts[last].latency_s
    ok = True if failure is None else False if isinstance(failure, ExpertError) else None
    if fleet.specs[lease.expert].composite:  # what its members do says nothing of it
        ok = None
    duration_s = latency_s + time.monotonic() - began
    first_byte_s = None if answer.events is None else latency_s
    reached = not (isinstance(failure, ExpertError) and failure.kind == "unreachable")
    scheduler.release(lease, LeaseOutcome(ok=ok, duration_s=duration_s, first_byte_s=first_byte_s, reached=reached))
    charge(fleet, lease.expert, answer, decision)
    if failure is not None:
        outcome = failure.kind if isinstance(failure, ExpertError) else "cancelled"
        decision.attempts[last] = replace(decision.attempts[last], outcome=outcome)


def absorb(decision: Decision, part: Decision, purpose: Purpose) -> None:
    """Add what `part`, the record of one thing that was asked on the way, has of attempts and costs."""
    for attempt in part.attempts:
        decision.attempts.append(replace(attempt, purpose=purpose) if attempt.purpose == "answer" else attempt)
    decision.waits_s.update(part.waits_s)
    decision.imposed_s.update(part.imposed_s)
    decision.prompt_tokens += part.prompt_tokens
    decision.completion_tokens += part.completion_tokens
    decision.cost_usd += part.cost_usd
    decision.transcript += part.transcript


def note_overhead(decision: Decision, query: Query) -> None:
    """Our own time so far: everything but waiting for leases and experts. What overlaps counts once."""
    decision.wait_ms = sum(attempt.wait_s for attempt in decision.attempts) * 1000
    decision.overhead_ms = max(0.0, time.monotonic() - query.received_at - _elsewhere_s(decision)) * 1000


def _elsewhere_s(decision: Decision) -> float:
    """How long anybody was waited for: the union of the attempts, without those of panels, whose members' count."""
    total_s, end_s = 0.0, 0.0
    attempts = (each for each in decision.attempts if each.purpose != "panel")
    spans = sorted((each.began_s, each.began_s + each.wait_s + each.latency_s) for each in attempts)
    for began_s, ended_s in spans:
        total_s += max(0.0, ended_s - max(began_s, end_s))
        end_s = max(end_s, ended_s)
    return total_s


def close_decision(decision: Decision, query: Query, failure: BaseException | None) -> None:
    """What is known once it is over. failure: what ended it, if it did not end well; a cancellation may carry the reason."""
    if isinstance(failure, asyncio.CancelledError) and failure.args and isinstance(failure.args[0], SwitchyardError):
        failure = failure.args[0]
    decision.wait_ms = sum(attempt.wait_s for attempt in decision.attempts) * 1000
    decision.duration_ms = (time.monotonic() - query.received_at) * 1000
    if failure is None:
        decision.status = 200
    elif isinstance(failure, SwitchyardError):
        decision.status, decision.error = failure.status, failure.message
    elif isinstance(failure, Exception):
        decision.status, decision.error = 503, type(failure).__name__
    else:
        decision.status, decision.error = CLIENT_LEFT, "the client left"
