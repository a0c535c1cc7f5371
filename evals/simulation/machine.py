"""A simulated machine around the scheduler's core: loads, stops and answers take simulated time, and nothing else happens.

    machine = Machine(Core(places, budget_bytes, 0.0), Timing(load_s=..., service_s=..., stop_s=0.5), witness)
    machine.feed(iter([(0.0, request), (0.5, another)]))
    machine.run()                       # until nothing happens any more

It does with the core's actions what the driver does with real servers, in the order in which the core asks for them. Whatever
happens is told to a `Witness`. Not here: what is asked (`workloads.py`), how long things take (`Timing`), policy (the core).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

from orchestrator.errors import SwitchyardError
from orchestrator.scheduler.actions import Grant, Load, Refuse, Sleep, Stop, Wake
from orchestrator.scheduler.base import Lease, LeaseOutcome, LeaseRequest
from orchestrator.scheduler.core import Core
from orchestrator.scheduler.state import Expert, Host
from orchestrator.types import Endpoint

_ENDPOINT = Endpoint("http://127.0.0.1:1/v1", "t")


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things take, in seconds. load_s: of a host. service_s: of a lease that an expert has just given.

    fails: whether the load that ends now has failed.
    """

    load_s: Callable[[Host], float]
    service_s: Callable[[Expert], float]
    stop_s: float = 0.0
    fails: Callable[[Host], bool] = lambda host: False


class Witness(Protocol):
    """Hears what happens, in order. Requests are named by their id, experts by their name, hosts by their key."""

    def arrived(self, request_id: str, now: float) -> None: ...

    def leased(self, request_id: str, expert: str, now: float) -> None: ...

    def answered(self, request_id: str, now: float) -> None: ...

    def refused(self, request_id: str, now: float) -> None: ...

    def load_began(self, host: str, now: float) -> None: ...

    def loaded(self, host: str, now: float) -> None: ...

    def unloaded(self, host: str, now: float) -> None:
        """It has been told to stop: it has no leases any more."""
        ...


class Machine:
    """`now` is the simulated time."""

    def __init__(self, core: Core, timing: Timing, witness: Witness) -> None:
        self.core = core
        self.now = 0.0
        self._timing = timing
        self._witness = witness
        self._events: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._numbers = count()

    def arrive(self, at: float, request: LeaseRequest) -> None:
        """It will, at that time."""
        self._at(at, self._acquire, request)

    def feed(self, arrivals: Iterator[tuple[float, LeaseRequest]]) -> None:
        """The same for many, in order of time; each is taken from the iterator when the one before it arrives."""
        for at, request in arrivals:
            self._at(at, self._fed, (request, arrivals))
            return

    def run(self, until: float = math.inf) -> None:
        """Until `until`, or until nothing happens any more."""
        core, events = self.core, self._events
        while True:
            wake = max(core.next_wake, self.now)
            at = min(events[0][0], wake) if events else wake
            if at > until or at == math.inf:
                return
            self.now = at
            if wake <= at:
                core.tick(at)
            else:
                _, _, happen, argument = heapq.heappop(events)
                happen(argument)
            self._carry_out()

    def _at(self, at: float, happen: Callable[[Any], None], argument: Any) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), happen, argument))

    def _fed(self, arrival: tuple[LeaseRequest, Iterator[tuple[float, LeaseRequest]]]) -> None:
        request, later = arrival
        self.feed(later)
        self._acquire(request)

    def _acquire(self, request: LeaseRequest) -> None:
        self._witness.arrived(request.id, self.now)
        try:
            admitted = self.core.acquire(request, self.now)
        except SwitchyardError:
            self._witness.refused(request.id, self.now)
            return
        if isinstance(admitted, Lease):
            self._serve(request.id, admitted)

    def _serve(self, request_id: str, lease: Lease) -> None:
        self._witness.leased(request_id, lease.expert, self.now)
        service_s = self._timing.service_s(self.core.expert(lease.expert, lease.node))
        self._at(self.now + service_s, self._release, (request_id, lease, service_s))

    def _release(self, held: tuple[str, Lease, float]) -> None:
        request_id, lease, service_s = held
        self.core.release(lease, LeaseOutcome(ok=True, duration_s=service_s), self.now)
        self._witness.answered(request_id, self.now)

    def _carry_out(self) -> None:
        for action in self.core.take_actions():
            match action:
                case Grant(waiter, lease):
                    self._serve(waiter.request_id, lease)
                case Refuse(waiter, _):
                    self._witness.refused(waiter.request_id, self.now)
                case Load(host, generation):
                    self._witness.load_began(host.key, self.now)
                    self._at(self.now + self._timing.load_s(host), self._loaded, (host, generation))
                case Stop(host):
                    self._witness.unloaded(host.key, self.now)
                    self._at(self.now + self._timing.stop_s, self._stopped, host)

                case Sleep() | Wake():
                    raise ValueError("simulated servers can't sleep: expected places without asleep_bytes")

    def _loaded(self, launch: tuple[Host, int]) -> None:
        host, generation = launch
        if host.generation != generation or host.state != "loading":
            return  # it was told to stop meanwhile
        if self._timing.fails(host):
            self.core.load_failed(host, generation, "its server has ended", self.now)
            return
        self._witness.loaded(host.key, self.now)
        self.core.loaded(host, generation, _ENDPOINT, host.memory_bytes, self.now)

    def _stopped(self, host: Host) -> None:
        self.core.stopped(host, self.now)
