"""Which experts and nodes there are, and what becomes of who waits when these are others. A part of `core.py`; pure like it.

    membership.reconfigure(places, budget_bytes, changed, now, asleep_budget_bytes, nodes)
    membership.lose("node-1", "it does not answer", now)

Not here: the objects that come of it (`roster.py`), and what follows on each node (`moves.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from orchestrator.errors import NoCapacity
from orchestrator.scheduler.base import NodeMemory, Place
from orchestrator.scheduler.moves import REBOUND, Moves
from orchestrator.scheduler.nodes import Nodes
from orchestrator.scheduler.queues import Queues
from orchestrator.scheduler.roster import Roster, make_roster


class Membership:
    """uniform: draws from [0, 1) for jitter."""

    def __init__(self, nodes: Nodes, queues: Queues, moves: Moves, uniform: Callable[[], float]) -> None:
        self._nodes = nodes
        self._queues = queues
        self._moves = moves
        self._uniform = uniform
        self._places: Sequence[Place] = ()

    def reconfigure(
        self,
        places: Sequence[Place],
        budget_bytes: int,
        changed: frozenset[str],
        now: float,
        asleep_budget_bytes: int | None,
        nodes: Mapping[str, NodeMemory] | None,
    ) -> None:
        """As `Core.reconfigure`, but for what follows on the nodes."""
        before = self._nodes.memory
        if asleep_budget_bytes is None:
            asleep_budget_bytes = before[""].asleep_budget_bytes
        if nodes is None:
            nodes = {name: memory for name, memory in before.items() if name}
        memory = {"": NodeMemory(budget_bytes, asleep_budget_bytes), **nodes}
        roster = self._make_roster(places, memory, changed)
        self._places = places
        self._nodes.configure(memory)
        for host in roster.hosts.values():
            host.forgive()
        self._tell_lost(roster)
        self._take_over(roster, now)
        for residents in self._nodes.residents:
            for drained in residents.shrink(now):
                self._moves.rebind_all(drained, now)
            residents.trim(now)
        for host in roster.hosts.values():
            self._nodes.of(host).residents.expire(host, now)
            self._moves.dispatch(host, now)
        self._spread(memory.keys() - before.keys(), now)

    def lose(self, node: str, reason: str, now: float) -> None:
        """As `Core.lost`, but for what follows on the nodes."""
        if node in self._nodes.lost:
            return
        alive = self._nodes.lose(node, reason)
        for host in {*alive, *(host for host in self._moves.roster.hosts.values() if host.node == node)}:
            host.lose()
        self._remake(now)
        self._tell_lost(self._moves.roster)

    def _tell_lost(self, roster: Roster) -> None:
        for host in roster.hosts.values():
            if host.node in self._nodes.lost:
                host.last_error = self._nodes.lost[host.node]

    def find(self, node: str, now: float) -> None:
        """As `Core.found`, but for what follows on the nodes."""
        if not self._nodes.find(node):
            return
        self._remake(now)
        self._spread({node}, now)

    def _make_roster(
        self, places: Sequence[Place], memory: Mapping[str, NodeMemory], changed: frozenset[str]
    ) -> Roster:
        alive = {host.key: host for host in self._nodes.alive}
        return make_roster(self._moves.roster, alive, places, memory, changed, self._nodes.lost, self._uniform)

    def _remake(self, now: float) -> None:
        """Other nodes are there."""
        self._take_over(self._make_roster(self._places, self._nodes.memory, frozenset()), now)

    def _take_over(self, new: Roster, now: float) -> None:
        """Retire hosts that aren't there any more, and have who waited for them look elsewhere."""
        old, self._moves.roster = self._moves.roster, new
        self._queues.adopt(new)
        for host in old.hosts.values():
            if new.hosts.get(host.key) is not host:
                host.retire()
                residency = self._nodes.of(host)
                residency.wanted.forget(host)
                residency.residents.drain(host, now)
        self._nodes.worth.forget_retired(new.hosts.values())
        for waiter in self._queues.still_waiting(self._queues.waiters.values()):
            name = waiter.bound.name
            if waiter.bound not in new.experts.get(name, ()):
                what = "nodes of the experts that could have answered are lost"
                if name not in new.replicas:
                    what = "experts that could have answered were removed"
                self._moves.move_on(waiter, NoCapacity(f"the {what}"), now)

    def _spread(self, nodes: AbstractSet[str], now: float) -> None:
        """There are more nodes: whoever waits for another replica of what could be there may be better off."""
        for replicas in self._moves.roster.experts.values():
            if len(replicas) > 1 and any(replica.place.node in nodes for replica in replicas):
                for replica in replicas:
                    self._moves.rebind(replica, now, at_most=REBOUND)
