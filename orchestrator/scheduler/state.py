"""What the scheduler's state machine is made of: hosts with weights, experts on them, waiters for them.

    host = Host(place, memory_bytes=300_000_000, limit=4)
    expert = Expert(place, host, Breaker())

A host is what is or isn't in memory; an expert is a name that requests are bound to. A persona is an expert on its base's host.
A remote expert has a host of its own that is always there. Only the state machine changes any of this: `core.py` and its parts,
each what it is about. `rules.py`, `sleeping.py` and whoever is handed a host in an action only read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from orchestrator.scheduler.base import LeaseOutcome, Place, State
from orchestrator.scheduler.concurrency import ConcurrencyLimit
from orchestrator.scheduler.fairness import Kind, Rank, RankedQueue, Turns
from orchestrator.scheduler.health import Breaker
from orchestrator.scheduler.meters import FADING_S, Average, Fading, MinuteWindow
from orchestrator.types import Endpoint
from routers.policy import Choice

LOST = -1
"""The generation of a host whose node is lost; no lease has it."""


def host_key(expert: str, node: str) -> str:
    return f"{expert}@{node}" if node else expert


@dataclass(slots=True, eq=False)
class Host:
    """Weights that are in memory or not, and who uses them.

    memory_bytes: what it takes while it is not cold: the larger of declared and measured, else assumed. generation: changes
    with every load, so that leases of a server that died don't occupy its successor. since: when its load began, or, once it
    is loaded, ended. wanted_since: when somebody last began to wait for it to be loaded. batch_at: when its last batch began.
    stopping: its server was told to end. draining_for: whom it makes room for; None when its draining can't be called off.
    to_sleep: its draining ends in sleep, if there is room. waking: its load is no launch. sleepless: it is not put to sleep again,
    because that or waking it went wrong. kept_bytes: what it kept of the machine's memory when it slept last, as measured.
    most_asleep_bytes: what all who sleep may keep together. woken: how often it came back from sleep of late, 0..1, where it can.
    learned: the limit, where none is declared. dismissed: an operator has unloaded it, and nobody has asked for it since.
    prefetched: it was loaded before anybody asked for it, and nobody has yet. predecessor: a server of the same name that must be
    gone first. uses: recent grants. worth: of having it in memory, and reliefs: what cold hosts would take off it, see `worth.py`.
    chosen: it is to be loaded for what it is worth, whoever waits. look_at: when something may be due for it. turns: who is served
    when, which replicas share. replicas: all hosts of this name on nodes that are there, in the order of their places. held: leases
    that take no place, but keep it in memory.
    """

    place: Place
    memory_bytes: int
    limit: float
    load_s: Average
    wake_s: Average = field(default_factory=lambda: Average(1.0))
    sleep_s: Average = field(default_factory=lambda: Average(1.0))
    measured_bytes: int = 0
    state: State = "cold"
    serving: bool = False
    since: float = -math.inf
    wanted_since: float = -math.inf
    batch_at: float = -math.inf
    experts: list[Expert] = field(default_factory=list)
    turns: Turns = field(default_factory=Turns)
    service_s: Average = field(default_factory=lambda: Average(1.0))
    leases: int = 0
    held: int = 0
    served: int = 0
    queued: int = 0
    queued_bulk: int = 0
    generation: int = 0
    endpoint: Endpoint | None = None
    idle_since: float = -math.inf
    stopping: bool = False
    draining_for: Host | None = None
    to_sleep: bool = False
    waking: bool = False
    sleepless: bool = False
    kept_bytes: int = 0
    most_asleep_bytes: int = 0
    woken: float = 1.0
    retired: bool = False
    predecessor: Host | None = None
    failures: int = 0
    not_before: float = -math.inf
    loads: int = 0
    last_error: str | None = None
    learned: ConcurrencyLimit | None = None
    dismissed: bool = False
    prefetched: bool = False
    prefetch_hits: int = 0
    prefetch_misses: int = 0
    uses: Fading = field(default_factory=Fading)
    look_at: float = math.inf
    worth: Fading = field(default_factory=Fading)
    reliefs: dict[Host, Fading] = field(default_factory=dict)
    chosen: bool = False
    replicas: tuple[Host, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        return self.place.expert

    @property
    def node(self) -> str:
        return self.place.node

    @property
    def key(self) -> str:
        """Its name, and where it is."""
        return host_key(self.place.expert, self.place.node)

    @property
    def at_hand_elsewhere(self) -> bool:
        """Another replica is in memory, or is to be."""
        if len(self.replicas) < 2:
            return False
        return any(other.at_hand or other.chosen for other in self.replicas if other is not self)

    @property
    def broken(self) -> bool:
        """It is not this node's fault that it can't be loaded: another has failed as well, and none has it in memory."""
        others = [other for other in self.replicas if other is not self]
        return any(other.failures for other in others) and all(o.state in {"cold", "loading"} for o in others)

    @property
    def memory_known(self) -> bool:
        return bool(self.place.memory_bytes or self.measured_bytes)

    @property
    def idle(self) -> bool:
        """In memory with nobody using it or waiting for it."""
        return self.state == "ready" and not self.leases and not self.queued

    @property
    def taken(self) -> int:
        """Places that are: by its leases, but for those that only keep it in memory."""
        return self.leases - self.held

    @property
    def at_hand(self) -> bool:
        """In memory, or about to be."""
        return self.serving or self.state == "loading"

    def full(self, now: float) -> bool:
        """No lease more: as many as it takes at once, or a batch that began earlier is still running."""
        if self.taken >= self.limit:
            return True
        return self.taken > 0 and self.place.batching == "together" and self.batch_at != now

    @property
    def can_sleep(self) -> bool:
        """Its server can, and there is memory for it when nobody else sleeps."""
        return (
            self.place.asleep_bytes is not None and not self.sleepless and self.asleep_bytes <= self.most_asleep_bytes
        )

    @property
    def asleep_bytes(self) -> int:
        """What it keeps of the machine's memory while it sleeps."""
        return self.kept_bytes or self.place.asleep_bytes or 0

    @property
    def loadable(self) -> bool:
        """Its memory is given back, and it can be brought in again."""
        return self.state == "cold" or (self.state == "asleep" and not self.stopping)

    @property
    def reload_s(self) -> float:
        """Expected seconds to bring it back: to wake it where it sleeps, to launch it where it can't, else as it was of late."""
        if self.waking or (self.state in {"falling_asleep", "asleep"} and not self.stopping):
            return self.wake_s.value
        if self.can_sleep and not self.stopping and (self.state == "ready" or self.to_sleep):
            return self.load_s.value + self.woken * (self.wake_s.value - self.load_s.value)
        return self.load_s.value

    @property
    def pinned(self) -> bool:
        return self.place.pin and not self.retired

    def enter(self, state: State) -> None:
        self.state = state
        self.serving = state in {"ready", "remote"}
        self.stopping = self.to_sleep = self.waking = False
        self.draining_for = None

    def retire(self) -> None:
        """It is no part of the fleet any more, and serves nobody new."""
        self.retired, self.serving = True, False

    def lose(self) -> None:
        """Its node is lost: it has no server and no leases any more, and nothing that is heard of it counts."""
        self.enter("cold")
        self.retire()
        self.generation, self.leases, self.endpoint = LOST, 0, None

    @property
    def buried(self) -> bool:
        """It is no part of the fleet any more, nor does it have a server."""
        return self.retired and self.state == "cold"

    def forgive(self) -> None:
        """Whoever edits the file may have mended what went wrong with it."""
        if self.state == "cold":
            self.failures = 0
            self.sleepless = False
            self.not_before = -math.inf

    def learn(self, outcome: LeaseOutcome, now: float) -> None:
        """From how one of its leases ends, which still counts among `leases`."""
        if outcome.ok:
            self.service_s.add(outcome.duration_s)
            self.failures = 0
        if self.learned is None:
            return
        began = now - outcome.duration_s
        if outcome.ok:
            self.learned.completed(now, began=began, saturated=self.leases >= self.limit and self.queued > 0)
        elif outcome.retry_after_s is not None:
            self.learned.pushed_back(now, began=began, service_s=self.service_s.value)
        self.limit = self.learned.value

    def note_use(self, now: float) -> None:
        self.uses.add(1.0, now)

    @property
    def used_at(self) -> float:
        """When it was last granted to anybody."""
        return self.uses.noted_at

    def use_rate(self, now: float) -> float:
        """Recent grants per second."""
        return self.uses.at(now) / FADING_S


class Rate(MinuteWindow):
    """An expert's `rpm`, whichever of its replicas serves. queue: who is bound to anything that counts against it."""

    __slots__ = ("queue",)

    def __init__(self, rpm: int, turns: Turns) -> None:
        super().__init__(rpm)
        self.queue: RankedQueue[Waiter] = RankedQueue(turns)


@dataclass(slots=True, eq=False)
class Expert:
    """A name that requests are bound to, or a replica of it: what of it is on one node.

    limit: of its own leases, where it has one beside its host's. windows: its own `rpm` and its host's, which replicas
    share. queue: who is bound to it.
    """

    place: Place
    host: Host
    breaker: Breaker
    limit: float = math.inf
    window: Rate | None = None
    windows: tuple[Rate, ...] = ()
    leases: int = 0
    queue: RankedQueue[Waiter] = field(init=False)

    def __post_init__(self) -> None:
        self.queue = RankedQueue(self.host.turns)

    @property
    def name(self) -> str:
        return self.place.expert

    def allows(self, now: float) -> bool:
        """Neither its breaker nor its host's back-off keeps requests away."""
        return (self.breaker.closed or self.breaker.allows(now)) and self.host.not_before <= now

    def is_free(self, now: float) -> bool:
        """Healthy, nobody waits, and one more is served at once: most requests find their experts so, and need no more weighing."""
        host = self.host
        return (
            host.serving
            and not host.queued
            and host.taken < host.limit
            and host.not_before <= now
            and self.breaker.closed
            and self.limit == math.inf
            and not self.windows
            and host.place.batching == "continuous"
        )

    def has_room(self, now: float) -> bool:
        """Whether a lease could be given now, health aside."""
        host = self.host
        if not host.serving or host.full(now) or self.leases >= self.limit:
            return False
        return not self.windows or self.rate_wait_s(now) <= 0.0

    def rate_wait_s(self, now: float) -> float:
        """Seconds until its `rpm` lets one more through, whoever waits for that."""
        return max((window.wait_s(now) for window in self.windows), default=0.0)

    @property
    def awaited(self) -> bool:
        """Somebody waits for it, or for its `rpm`."""
        return bool(self.queue) or any(window.queue for window in self.windows)

    def join(self, waiter: Waiter) -> None:
        self.queue.add(waiter)
        for window in self.windows:
            window.queue.add(waiter)
        self.host.queued += 1
        self.host.queued_bulk += waiter.bulk

    def leave(self, waiter: Waiter) -> None:
        self.queue.remove(waiter)
        for window in self.windows:
            window.queue.discard(waiter)
        self.host.queued -= 1
        self.host.queued_bulk -= waiter.bulk


Replicas = tuple[Expert, ...]
"""Of one name: one for each node that it is on, in the order of their places; without weights the only one."""


@dataclass(slots=True, eq=False)
class Waiter:
    """A request that waits, bound to one of its candidates for now. Tickets are in order of arrival. bulk: nobody waits for it.

    ranks: at each host that could have served it since it came. utilities: of the candidates that it came with. node: where it came
    from. tried: nodes where it has failed. struck: hosts that are none for it, since they could not be loaded, or can't be reached
    from where it came.
    """

    ticket: int
    request_id: str
    candidates: tuple[Choice, ...]
    mu: float
    deadline: float
    arrived: float
    bound: Expert
    tenant: str = ""
    bulk: bool = False
    session: str | None = None
    node: str = ""
    tried: tuple[str, ...] = ()
    struck: frozenset[Host] = frozenset()
    kind: Kind = field(init=False)
    ranks: dict[Turns, Rank] = field(default_factory=dict)
    utilities: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.kind = Kind(self.tenant, self.bulk)
        self.utilities = {choice.expert: choice.utility for choice in self.candidates}

    def ahead(self, host: Host) -> int:
        """How many others this host will serve before it."""
        if not host.queued:
            return 0
        if len(host.experts) == 1:
            return host.experts[0].queue.ahead(self)
        return sum(expert.queue.ahead(self) for expert in host.experts if expert.queue)
