"""Short ways to describe experts to a scheduler in tests: `remote("gpt", rpm=60)`, `local("llama", 100)`, `persona("poet", "llama")`."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.experts.base import ServerCommand
from orchestrator.scheduler.base import LeaseOutcome, LeaseRequest, Place
from routers.policy import Choice

OK = LeaseOutcome(ok=True, latency_s=0.1, duration_s=1.0)
FAILED = LeaseOutcome(ok=False, latency_s=0.1, duration_s=0.1)
LEFT = LeaseOutcome(ok=None, latency_s=0.0, duration_s=0.0)


def remote(name: str, *, concurrency: int | None = None, rpm: int | None = None) -> Place:
    return Place(name, name, holds_weights=False, concurrency=concurrency, rpm=rpm)


def local(
    name: str,
    memory_bytes: int | None,
    *,
    concurrency: int | None = 1,
    rpm: int | None = None,
    pin: bool = False,
    keep_alive_s: float = 600.0,
    command: Callable[[], ServerCommand] | None = None,
) -> Place:
    launch = command or (lambda: ServerCommand(argv=("serve", name)))
    return Place(name, name, True, memory_bytes, pin, keep_alive_s, concurrency, rpm, launch)


def persona(name: str, host: str, *, concurrency: int | None = None, rpm: int | None = None) -> Place:
    return Place(name, host, holds_weights=True, concurrency=concurrency, rpm=rpm)


def ask(*names: str, mu: float = 0.0, deadline: float = 1e9, request_id: str = "r", step: float = 0.1) -> LeaseRequest:
    """A request for these experts, each worth `step` less than the one before."""
    choices = tuple(Choice(name, 1.0 - step * i) for i, name in enumerate(names))
    return LeaseRequest(request_id, choices, mu, deadline)
