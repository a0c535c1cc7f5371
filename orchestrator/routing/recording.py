"""How a decision is opened, charged and closed: what the ledger will know of a request.

decision = open_decision(query)
charge(fleet, "smollm2", answer, decision)
close_decision(decision, query, failure=None)
"""

from __future__ import annotations

import asyncio
import time

from orchestrator.errors import SwitchyardError
from orchestrator.fleet.snapshot import Fleet
from orchestrator.routing.pricing import cost_usd
from orchestrator.types import Answer, Decision, Query

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
    """Add what an answer used to the decision, at the expert's prices."""
    usage, price = answer.usage, fleet.specs[expert].price
    decision.prompt_tokens += usage.prompt_tokens
    decision.completion_tokens += usage.completion_tokens
    decision.cost_usd += cost_usd(price, usage.prompt_tokens, usage.completion_tokens)


def note_overhead(decision: Decision, query: Query) -> None:
    """Our own time so far: everything but waiting for leases and experts. Members of a panel overlap, the longest counts."""
    inside: dict[str, float] = {}
    for attempt in decision.attempts:
        inside[attempt.expert] = inside.get(attempt.expert, 0.0) + attempt.wait_s + attempt.latency_s
    elsewhere_s = max(inside.values(), default=0.0) if decision.mode == "panel" else sum(inside.values())
    decision.wait_ms = sum(attempt.wait_s for attempt in decision.attempts) * 1000
    decision.overhead_ms = max(0.0, time.monotonic() - query.received_at - elsewhere_s) * 1000


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
