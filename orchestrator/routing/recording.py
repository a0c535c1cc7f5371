"""How a decision is opened, charged and closed: what the ledger will know of a request.

decision = open_decision(query)
charge(fleet, "smollm2", answer, decision)
close_decision(decision, query, failure=None)
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from orchestrator.errors import ExpertError, SwitchyardError
from orchestrator.fleet.snapshot import Fleet
from orchestrator.routing.pricing import cost_usd
from orchestrator.scheduler.base import Lease, LeaseOutcome, Scheduler
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
    """Add what an answer used to the decision and to the expert's last attempt, at the expert's prices."""
    usage, price = answer.usage, fleet.specs[expert].price
    cost = cost_usd(price, usage.prompt_tokens, usage.completion_tokens)
    decision.prompt_tokens += usage.prompt_tokens
    decision.completion_tokens += usage.completion_tokens
    decision.cost_usd += cost
    if cost:
        last = max(i for i, attempt in enumerate(decision.attempts) if attempt.expert == expert)
        decision.attempts[last] = replace(decision.attempts[last], cost_usd=cost)


def settle(
    scheduler: Scheduler,
    fleet: Fleet,
    lease: Lease,
    answer: Answer,
    decision: Decision,
    began: float,
    failure: BaseException | None,
) -> None:
    """Give the lease back, and charge for what was used. A client that left says nothing about the expert.

    began: when the answer did. failure: what ended it, if it did not end well. The last attempt is the one that answered.
    """
    latency_s = decision.attempts[-1].latency_s
    ok = True if failure is None else False if isinstance(failure, ExpertError) else None
    duration_s = latency_s + time.monotonic() - began
    first_byte_s = None if answer.events is None else latency_s
    scheduler.release(lease, LeaseOutcome(ok=ok, duration_s=duration_s, first_byte_s=first_byte_s))
    charge(fleet, lease.expert, answer, decision)
    if failure is not None:
        outcome = failure.kind if isinstance(failure, ExpertError) else "cancelled"
        decision.attempts[-1] = replace(decision.attempts[-1], outcome=outcome)


def absorb(decision: Decision, part: Decision, purpose: Purpose) -> None:
    """Add what `part`, the record of one thing that was asked on the way, has of attempts and costs."""
    decision.attempts += [replace(attempt, purpose=purpose) for attempt in part.attempts]
    decision.waits_s.update(part.waits_s)
    decision.prompt_tokens += part.prompt_tokens
    decision.completion_tokens += part.completion_tokens
    decision.cost_usd += part.cost_usd


def note_overhead(decision: Decision, query: Query) -> None:
    """Our own time so far: everything but waiting for leases and experts. Of what overlaps, the longest counts."""
    decision.wait_ms = sum(attempt.wait_s for attempt in decision.attempts) * 1000
    decision.overhead_ms = max(0.0, time.monotonic() - query.received_at - _elsewhere_s(decision)) * 1000


def _elsewhere_s(decision: Decision) -> float:
    """Members of a panel overlap, and so do one expert's samples, and all experts' assessments."""
    answers: dict[str, float] = {}
    samples: dict[str, float] = {}
    assessments: dict[str, float] = {}
    for attempt in decision.attempts:
        inside_s, expert = attempt.wait_s + attempt.latency_s, attempt.expert
        match attempt.purpose:
            case "sample":
                samples[expert] = max(samples.get(expert, 0.0), inside_s)
            case "assessment":
                assessments[expert] = assessments.get(expert, 0.0) + inside_s
            case _:
                answers[expert] = answers.get(expert, 0.0) + inside_s
    asked_s = max(answers.values(), default=0.0) if decision.mode == "panel" else sum(answers.values())
    return asked_s + sum(samples.values()) + max(assessments.values(), default=0.0)


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
