"""What the pipeline asks of a scheduler: a lease, and what waiting would cost.

    lease = await scheduler.acquire(LeaseRequest(id=query.id, candidates=plan.choices, mu=plan.mu, deadline=query.deadline))
    try:
        answer = await expert.answer(Call(..., endpoint=lease.endpoint))
    finally:
        scheduler.release(lease, LeaseOutcome(ok=True, duration_s=0.8))

The scheduler owns the only view of queues, leases, waits, memory and health. Binding is late: it chooses among the candidates
when it grants, by `routers.policy.bind`, with the waits as they are then. The pure state machine is `core.py` (its parts: what
follows from an event, `moves.py`; who waits, `queues.py`, and for whom, `weighing.py`; who comes into memory, `residency.py`, and
what happens to it there, `residents.py`; other experts or nodes, `membership.py`; the objects, `state.py`; what it asks for,
`actions.py`; the rules, `rules.py`; health, `health.py`), and the async driver `driver.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import msgspec

from orchestrator.engines.base import Launchable
from orchestrator.types import Endpoint, Priority, Query
from routers.policy import Choice

State = Literal["remote", "cold", "loading", "ready", "draining", "falling_asleep", "asleep"]
"""loading: launching, or waking up. draining: gives no new leases. falling_asleep: gives up its memory but stays alive."""

Batching = Literal["continuous", "together"]
"""Whether requests join those that run, or wait until a whole batch is done and then start together."""


@dataclass(frozen=True, slots=True)
class Spread:
    """On which nodes of a cluster an expert is to live.

    pinned: on how many of them it is kept in memory. most: on how many it is in memory at once; None: on all. nodes: () for any.
    """

    pinned: int = 0
    most: int | None = None
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """One expert as the scheduler is told of it.

    host: the expert whose weights it needs: itself, or a persona's base, whose residency and limits it shares; what is said of
    memory, pin, keep_alive_s and command counts for hosts only. memory_bytes: None is learned at the first load. keep_alive_s:
    how long an idle host stays in memory; 0 means not at all. concurrency, rpm: None means no limit, but for hosts with
    weights a concurrency that is assumed at first and then found out. asleep_bytes: what it keeps of the host's memory while it
    is asleep; None means that its server can't sleep. on_device: its memory is not the host's. command: how to launch the server.
    node: where its weights are to live; "" is this machine. Places of one expert on several nodes are its replicas. A persona's
    place needs its base's on the same node; experts without weights have one place, on no node. spread: how those of a host are
    chosen, and how many of them are used.
    """

    expert: str
    host: str
    holds_weights: bool
    memory_bytes: int | None = None
    pin: bool = False
    keep_alive_s: float = 600.0
    concurrency: int | None = None
    rpm: int | None = None
    command: Launchable | None = None
    batching: Batching = "continuous"
    asleep_bytes: int | None = None
    on_device: bool = False
    node: str = ""
    spread: Spread = Spread()


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """What experts may use together on one node: of its budget, and, those that sleep, of its own memory."""

    budget_bytes: int
    asleep_budget_bytes: int = 0


class LeaseRequest(msgspec.Struct, frozen=True):
    """Who wants a lease.

    candidates: at least one, best first. mu: utility given up per second of wait. deadline: monotonic s. tenant: whose request it
    is; tenants share an expert's queue fairly. session: requests of one session tend to come back to the same expert. node: where
    who asks is: of replicas alike, the one there is taken. tried: nodes where the request has failed; replicas elsewhere are taken.
    unreachable: nodes that who asks can't reach; replicas there are none for it.
    """

    id: str
    candidates: tuple[Choice, ...]
    mu: float
    deadline: float
    priority: Priority = "interactive"
    tenant: str = ""
    session: str | None = None
    node: str = ""
    tried: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()

    @property
    def bulk(self) -> bool:
        return self.priority == "bulk"

    @classmethod
    def of(cls, query: Query, candidates: tuple[Choice, ...], mu: float, tried: tuple[str, ...] = ()) -> LeaseRequest:
        """A query's."""
        priority, tenant = query.options.priority, query.caller.key_id
        return cls(query.id, candidates, mu, query.deadline, priority, tenant, query.session, tried=tried)


class Weighed(NamedTuple):
    """What choosing an expert costs in time, in seconds by expert.

    waits_s: expected until it serves. imposed_s: what its load would make others wait, where nobody has asked for that load yet.
    """

    waits_s: dict[str, float]
    imposed_s: dict[str, float]

    @property
    def prices_s(self) -> Mapping[str, float]:
        """What is weighed: their sum."""
        if not self.imposed_s:
            return self.waits_s
        return {expert: wait_s + self.imposed_s.get(expert, 0.0) for expert, wait_s in self.waits_s.items()}


class Lease(msgspec.Struct, frozen=True):
    """The right to use a ready expert once. wait_s: what was waited. node: where the expert's replica is.

    weighed: at binding, of the candidates that could be bound then; others (unhealthy, full) are absent.
    """

    id: str
    expert: str
    endpoint: Endpoint | None
    wait_s: float
    weighed: Weighed = msgspec.field(default_factory=lambda: Weighed({}, {}))
    node: str = ""


class LeaseOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a lease ended. ok None: says nothing about the expert's health (the client left, or its request was wrong).

    duration_s: until the lease was released, which is what occupies the expert. first_byte_s: to a stream's first content byte;
    None for a whole answer, whose time says more about its length than about the expert. reached: False when nothing was heard of
    the expert's machine.
    """

    ok: bool | None
    duration_s: float
    first_byte_s: float | None = None
    retry_after_s: float | None = None
    reached: bool = True


UNUSED = LeaseOutcome(ok=None, duration_s=0.0)
"""How a lease ends that nobody has used."""


@dataclass(frozen=True, slots=True)
class ExpertStatus:
    """One expert as the scheduler sees it now, or one replica of it. node: where its weights live.

    memory_bytes: of the budget. asleep_bytes: of the host's memory, kept while it sleeps. loads: launches and wakes. prefetch_hits,
    _misses: loads ahead of demand that somebody came for, or nobody.
    """

    expert: str
    state: State
    leases: int
    waiting: int
    expected_wait_s: float
    breaker: Literal["closed", "open", "half_open"]
    memory_bytes: int
    loads: int
    last_error: str | None = None
    prefetch_hits: int = 0
    prefetch_misses: int = 0
    asleep_bytes: int = 0
    node: str = ""


@dataclass(frozen=True, slots=True)
class MemoryStatus:
    """What all experts may use together, and use now: of the budget, and of the host's memory those that sleep.

    nodes: the same for each, where there are several.
    """

    budget_bytes: int
    used_bytes: int
    asleep_budget_bytes: int
    asleep_used_bytes: int
    nodes: dict[str, MemoryStatus] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a held request stands: `ahead` others before it, about `estimate_s` seconds to go."""

    expert: str
    ahead: int
    estimate_s: float


class Leases(Protocol):
    """What is asked of a scheduler on behalf of a request."""

    async def acquire(self, request: LeaseRequest) -> Lease:
        """Wait for a lease. Cancelling gives the place up.

        Raises `NoCapacity` when no candidate can ever be served now, `RateLimited` when every queue is full,
        `DeadlineExceeded` at the deadline, `ExpertError(kind="not_loaded")` when the last candidate fails to load.
        """
        ...

    def release(self, lease: Lease, outcome: LeaseOutcome) -> None:
        """Give the lease back, once, and say how it went."""
        ...

    def weigh(self, experts: Iterable[str]) -> Weighed:
        """What each would cost a request that arrives now."""
        ...


class Scheduler(Leases, Protocol):
    """The interface that `local` and `ray` both have."""

    def position(self, request_id: str) -> Position | None:
        """Where a request stands that waits; None when it doesn't."""
        ...

    def status(self) -> tuple[ExpertStatus, ...]: ...

    def memory(self) -> MemoryStatus: ...

    async def warm(self, expert: str) -> None:
        """Load the expert's weights where they are pinned, or else somewhere; return when they are in memory of one node."""
        ...

    async def unload(self, expert: str) -> None:
        """Drain the expert and free its memory; return when it is free."""
        ...

    async def reconfigure(
        self, places: Sequence[Place], budget_bytes: int, asleep_budget_bytes: int | None = None
    ) -> None:
        """Take over another fleet. Leases run on; waiters of what is gone move to their other candidates, or fail.

        asleep_budget_bytes: None leaves it as it is. Raises `ConfigError` when the places can't be, and then nothing has changed.
        """
        ...

    async def close(self) -> None:
        """Refuse new requests, and stop every server."""
        ...
