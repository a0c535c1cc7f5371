"""Whether every expert of a fleet really answers: one short request to each, past the router.

    async for result in probe(service):
        result.expert, result.ok, result.latency_s, result.message

Experts that hold weights are loaded for it, one after another. Probes are not decisions: the ledger doesn't see them.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from orchestrator.config import ExpertBase
from orchestrator.errors import ExpertRejected, SwitchyardError
from orchestrator.scheduler.base import LeaseOutcome, LeaseRequest
from orchestrator.service import Service
from orchestrator.types import Call, Kind
from routers.policy import Choice

_BODIES: dict[Kind, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "max_tokens": 8},
    "completion": {"prompt": "2 + 2 =", "max_tokens": 4},
    "embedding": {"input": ["What is 2 + 2?"]},
    "rerank": {"query": "What is 2 + 2?", "documents": ["It is 4.", "It is Tuesday."]},
}


@dataclass(frozen=True, slots=True)
class Probe:
    """How one expert did; latency_s includes the time to load it."""

    expert: str
    ok: bool
    latency_s: float
    message: str = ""


async def probe(service: Service) -> AsyncIterator[Probe]:
    """Ask the experts in the order of the YAML."""
    for spec in service.fleet.config.experts:
        began = time.monotonic()
        try:
            await _ask(service, spec)
            message, ok = "", True
        except ExpertRejected as error:  # it is there, and says that this question is not for it
            message, ok = error.message, True
        except SwitchyardError as error:
            message, ok = error.message, False
        yield Probe(spec.name, ok, time.monotonic() - began, message)


async def _ask(service: Service, spec: ExpertBase) -> None:
    deadline = time.monotonic() + spec.timeouts.load_s + spec.timeouts.first_byte_s
    request = LeaseRequest(f"probe-{spec.name}", (Choice(spec.name, 1.0),), mu=0.0, deadline=deadline)
    lease = await service.scheduler.acquire(request)
    began = time.monotonic()
    try:
        call = Call(spec.kind, {"model": spec.name, **_BODIES[spec.kind]}, deadline, lease.endpoint)
        answer = await service.fleet.experts[spec.name].answer(call)
        await answer.aclose()
    finally:
        service.scheduler.release(lease, LeaseOutcome(ok=None, duration_s=time.monotonic() - began))
