"""The simulator's machine with everything equally fast, and lists of what happened on it.

world = World(places, budget_bytes=100, load_s=1.0, stop_s=0.5, service_s=2.0)
world.arrive(0.0, ask("a"))
world.run()
world.served[0].expert, world.served[0].at

Each node that places are on has the same memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.simulation.machine import Machine, Timing
from orchestrator.scheduler.base import LeaseRequest, NodeMemory, Place
from orchestrator.scheduler.core import Core
from orchestrator.scheduler.rules import Rules


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
        rules: Rules | None = None,
        max_waiting: int = 100,
    ) -> None:
        nodes = {place.node: NodeMemory(budget_bytes) for place in places if place.node}
        self.core = Core(
            places, budget_bytes, 0.0, nodes=nodes, rules=rules, max_waiting=max_waiting, uniform=lambda: 0.5
        )
        self.served: list[Served] = []
        self.refusals: list[str] = []
        self.loads: list[tuple[str, float]] = []
        self._asked_at: dict[str, float] = {}
        self._machine = Machine(self.core, Timing(lambda host: load_s, lambda expert: service_s, stop_s), self)

    @property
    def now(self) -> float:
        return self._machine.now

    def arrive(self, at: float, request: LeaseRequest) -> None:
        self._machine.arrive(at, request)

    def run(self, until: float = float("inf")) -> None:
        """Until `until`, or until nothing happens any more."""
        self._machine.run(until)

    # What the machine tells

    def arrived(self, request_id: str, now: float) -> None:
        self._asked_at[request_id] = now

    def leased(self, request_id: str, expert: str, now: float) -> None:
        self.served.append(Served(request_id, expert, now, now - self._asked_at[request_id]))

    def answered(self, request_id: str, now: float) -> None:
        pass

    def refused(self, request_id: str, now: float) -> None:
        self.refusals.append(request_id)

    def load_began(self, host: str, now: float) -> None:
        self.loads.append((host, now))

    def loaded(self, host: str, now: float) -> None:
        pass

    def unloaded(self, host: str, now: float) -> None:
        pass
