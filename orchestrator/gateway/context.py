"""What the gateway is given by the service that composes it, as Protocols: it knows no fleet, no engine, no router.

    context = GatewayContext(pipeline=pipeline, ledger=ledger, scheduler=scheduler, keys=KeyRing(), config=lambda: config,
                             metrics=metrics)
    app = create_app(context)                     # orchestrator/gateway/app.py

Not here: anything that answers a request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from orchestrator.config import Config
from orchestrator.gateway.auth import KeyRing
from orchestrator.gateway.lifecycle import Lifecycle
from orchestrator.gateway.metrics import Metrics
from orchestrator.gateway.readiness import Readiness
from orchestrator.gateway.surface import EventStream
from orchestrator.ledger.base import Ledger
from orchestrator.scheduler.base import Scheduler
from orchestrator.types import Decision, Query

if TYPE_CHECKING:
    from orchestrator.bulk.batches import Batches


class Reply(Protocol):
    """What the pipeline made of a query: its decision, and either a whole `body` or `events`.

    `events` yields blocks of whole SSE events and raises `SwitchyardError` mid-stream; closing it aborts the expert and
    records the decision.
    """

    @property
    def decision(self) -> Decision: ...
    @property
    def body(self) -> bytes | None: ...
    @property
    def events(self) -> EventStream | None: ...


class Pipeline(Protocol):
    """Queries in, replies out. Both raise `SwitchyardError`; cancelling `answer` cancels the expert."""

    async def answer(self, query: Query, present: Callable[[Decision, bytes], bytes]) -> Reply:
        """`present` says a whole answer as the client wants it; a stream's blocks are the caller's to translate."""
        ...

    async def route(self, query: Query) -> Decision:
        """What `answer` would decide, without calling anybody."""
        ...


async def _alone() -> None:
    """There are no other gateways."""


@dataclass(frozen=True, slots=True)
class GatewayContext:
    """Everything a request may need.

    config: the current snapshot; live reload swaps it.
    scored: called when a decision has got a score. unready: why it should be sent no requests, of reasons that others know.
    measured: what all gateways behind one address have, by name; None for one that is alone. batches: None where there are none.
    hold_s: how long a streaming request waits silently before it is told its position, and then every `comment_s`.
    """

    pipeline: Pipeline
    ledger: Ledger
    scheduler: Scheduler
    keys: KeyRing
    config: Callable[[], Config]
    metrics: Metrics
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    readiness: Readiness = field(default_factory=Readiness)
    scored: Callable[[], None] = lambda: None
    unready: Callable[[], str | None] = lambda: None
    measured: Callable[[], Awaitable[Mapping[str, bytes] | None]] = _alone
    batches: Batches | None = None
    hold_s: float = 2.0
    comment_s: float = 3.0
