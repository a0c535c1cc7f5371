"""A simulated machine around the scheduler's core: loads, stops and answers take the time they are given.

world = World(places, budget_bytes=100, load_s=1.0, stop_s=0.5, service_s=2.0)
world.arrive(0.0, ask("a"))
world.run()
world.served[0].expert, world.served[0].at
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from orchestrator.errors import RateLimited
from orchestrator.scheduler.base import Lease, LeaseOutcome, LeaseRequest, Place
from orchestrator.scheduler.core import Core
from orchestrator.scheduler.state import Grant, Host, Load, Refuse, Stop
from orchestrator.types import Endpoint


@dataclass(frozen=True)
class Served:
    request_id: str
    expert: str
    at: float
    wait_s: float


class World:
    def __init__(
        self,
        places: Sequence[Place],
        budget_bytes: int,
        *,
        load_s: float = 1.0,
        stop_s: float = 0.5,
        service_s: float = 1.0,
    ) -> None:
        self.core = Core(places, budget_bytes, 0.0, max_waiting=100, uniform=lambda: 0.5)
        self.now = 0.0
        self.served: list[Served] = []
        self.refused: list[str] = []
        self.loads: list[tuple[str, float]] = []
        self._load_s, self._stop_s, self._service_s = load_s, stop_s, service_s
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def arrive(self, at: float, request: LeaseRequest) -> None:
        self._at(at, lambda: self._acquire(request))

    def run(self, until: float = float("inf")) -> None:
        """Until `until`, or until nothing happens any more."""
        while True:
            at = min(self._events[0][0] if self._events else float("inf"), max(self.core.next_wake, self.now))
            if at > until or at == float("inf"):
                return
            self.now = at
            if self.core.next_wake <= at:
                self.core.tick(at)
            else:
                heapq.heappop(self._events)[2]()
            self._carry_out()

    def _at(self, at: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), event))

    def _acquire(self, request: LeaseRequest) -> None:
        try:
            admitted = self.core.acquire(request, self.now)
        except RateLimited:
            self.refused.append(request.id)
            return
        if isinstance(admitted, Lease):
            self._serve(admitted)

    def _serve(self, lease: Lease) -> None:
        self.served.append(Served(lease.id.rpartition("/")[0], lease.expert, self.now, lease.wait_s))
        outcome = LeaseOutcome(ok=True, duration_s=self._service_s, first_byte_s=0.1)
        self._at(self.now + self._service_s, lambda: self.core.release(lease, outcome, self.now))

    def _carry_out(self) -> None:
        for action in self.core.take_actions():
            match action:
                case Grant(_, lease):
                    self._serve(lease)
                case Refuse(waiter, _):
                    self.refused.append(waiter.request_id)
                case Load(host):
                    self.loads.append((host.name, self.now))
                    self._at(self.now + self._load_s, lambda host=host: self._loaded(host))
                case Stop(host):
                    self._at(self.now + self._stop_s, lambda host=host: self.core.stopped(host, self.now))

    def _loaded(self, host: Host) -> None:
        self.core.loaded(host, Endpoint("http://127.0.0.1:1/v1", "t"), host.memory_bytes, self.now)
