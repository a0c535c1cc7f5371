"""The nodes whose memory is scheduled, each with its residents, and which of them are lost. A part of `core.py`; pure like it.

    nodes = Nodes({"": NodeMemory(4_000_000_000)}, outbox, rules)   # "" is this machine
    nodes.of(host).plan(now)
    nodes.lose("node-1", "it does not answer")                      # nothing of it counts any more

Not here: what happens to those that wait for a node that is lost (`core.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.scheduler.actions import Outbox
from orchestrator.scheduler.base import MemoryStatus, NodeMemory
from orchestrator.scheduler.residency import Residency
from orchestrator.scheduler.residents import Residents
from orchestrator.scheduler.rules import Rules
from orchestrator.scheduler.state import Host
from orchestrator.scheduler.worth import Worth


class Nodes:
    """memory: of each node that there is to be. lost: why some aren't there. residencies: also of nodes lately removed."""

    def __init__(self, memory: Mapping[str, NodeMemory], outbox: Outbox, rules: Rules) -> None:
        self.worth = Worth()
        self.memory: Mapping[str, NodeMemory] = {}
        self.lost: dict[str, str] = {}
        self.residencies: dict[str, Residency] = {}
        self._outbox = outbox
        self._rules = rules
        self.configure(memory)

    def configure(self, memory: Mapping[str, NodeMemory]) -> None:
        """Take over other nodes and budgets. What those have that are none of these goes on until it is over."""
        for name in self.residencies.keys() - self.memory.keys() - memory.keys():
            if not self.residencies[name].residents.alive:
                del self.residencies[name]
        self.memory = memory
        self.lost = {name: reason for name, reason in self.lost.items() if name in memory}
        self._count()
        for name, budgets in memory.items():
            if name not in self.residencies:
                self.residencies[name] = self._residency(name)
            residents = self.residencies[name].residents
            residents.budget_bytes = budgets.budget_bytes
            residents.sleepers.budget_bytes = budgets.asleep_budget_bytes

    def lose(self, name: str, reason: str) -> dict[Host, None]:
        """It is gone, with all that was in its memory or waited for it. Returns who had a server.

        Raises KeyError for a node that is none, and ValueError for this machine, which can't be lost.
        """
        if name not in self.memory:
            raise KeyError(name)
        if not name:
            raise ValueError("this machine can't be lost")
        alive = self.residencies[name].residents.alive
        self.lost[name] = reason
        self.residencies[name] = self._residency(name)
        self._count()
        return alive

    def find(self, name: str) -> bool:
        """It is there; returns whether it was lost. Raises KeyError for a node that is none."""
        if name not in self.memory:
            raise KeyError(name)
        was_lost = self.lost.pop(name, None) is not None
        self._count()
        return was_lost

    def _count(self) -> None:
        """Arrivals are shared by the nodes that are there and hold weights."""
        there = (memory for name, memory in self.memory.items() if name not in self.lost)
        self.worth.nodes = max(sum(memory.budget_bytes > 0 for memory in there), 1)

    def of(self, host: Host) -> Residency:
        return self.residencies[host.place.node]

    @property
    def alive(self) -> list[Host]:
        """Every host that has a server."""
        return [host for residency in self.residencies.values() for host in residency.residents.alive]

    @property
    def residents(self) -> list[Residents]:
        """Of every node that there is to be."""
        return [self.residencies[name].residents for name in self.memory]

    @property
    def spare_bytes(self) -> dict[str, int]:
        """Memory for loads ahead of demand, where somebody may be loaded ahead of it."""
        spare = ((name, self.residencies[name].spare_bytes) for name in self.memory if name not in self.lost)
        return {name: free for name, free in spare if free is not None}

    @property
    def status(self) -> MemoryStatus:
        """Of those that are there."""
        nodes = {name: _status(self.residencies[name].residents) for name in self.memory if name not in self.lost}
        if len(nodes) == 1:
            return next(iter(nodes.values()))
        nodes = {name: status for name, status in nodes.items() if name or status.budget_bytes}
        return MemoryStatus(
            sum(status.budget_bytes for status in nodes.values()),
            sum(status.used_bytes for status in nodes.values()),
            sum(status.asleep_budget_bytes for status in nodes.values()),
            sum(status.asleep_used_bytes for status in nodes.values()),
            nodes,
        )

    def _residency(self, name: str) -> Residency:
        memory = self.memory.get(name, NodeMemory(0))
        return Residency(name, memory, self.worth, self._outbox, self._rules)


def _status(residents: Residents) -> MemoryStatus:
    sleepers = residents.sleepers
    return MemoryStatus(residents.budget_bytes, residents.used_bytes, sleepers.budget_bytes, sleepers.used_bytes)
