"""Where the experts of one `experts.yaml` may live on a cluster: on every node that they fit on, or those that the file names.

    rooms = {"10.0.0.7": Room(NodeMemory(64_000_000_000), Resources(cpus=16, memory_bytes=80_000_000_000))}
    spread(make_places(config, base_dir), rooms)            # a place for each node

Pinned experts are spread here, the largest first, each over the nodes with the most room left. On which of its nodes another is
loaded is decided as requests come (`orchestrator/scheduler/`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.experts.base import Resources
from orchestrator.scheduler.base import NodeMemory, Place

NOWHERE = "none"
"""The node of experts that fit on none: one that isn't there."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Room:
    """What a node has for experts: of memory, and of all that a server may ask for."""

    memory: NodeMemory
    resources: Resources


def spread(
    places: Sequence[Place], rooms: Mapping[str, Room], in_memory: Mapping[str, Collection[str]] | None = None
) -> tuple[Place, ...]:
    """in_memory: on which nodes experts are, where pinned ones had better stay.

    An expert whose nodes are not there, or have no room for it beside those that are pinned there, may live on any; one that no
    node has room for is `NOWHERE`.
    """
    hosts = {place.expert: place for place in places if place.holds_weights and place.expert == place.host}
    floor = _Floor(rooms, hosts.values())
    kept = _kept(hosts.values(), floor, in_memory or {})
    homes = {name: _homes(host, kept.get(name, []), floor) for name, host in hosts.items()}
    found: list[Place] = []
    for place in places:
        if place.holds_weights:
            pinned = kept.get(place.host, ())
            found += [replace(place, node=node, pin=node in pinned) for node in homes[place.host]]
        else:
            found.append(place)
    return tuple(found)


class _Floor:
    """What is left on each node beside what is pinned there."""

    def __init__(self, rooms: Mapping[str, Room], hosts: Iterable[Place]) -> None:
        self.left = {name: room.memory.budget_bytes for name, room in rooms.items()}
        self.pinned = Counter[str]()
        self._rooms = rooms
        self._largest_bytes = max((_size(host) for host in hosts if not host.pin), default=0)

    def holds(self, host: Place) -> list[str]:
        """The nodes where its server could run."""
        asked = Resources() if host.command is None else host.command.resources
        size = _size(host)
        return [name for name, free in self.left.items() if size <= free and asked.within(self._rooms[name].resources)]

    def keep(self, host: Place, node: str) -> None:
        self.pinned[node] += 1
        self.left[node] -= _size(host)

    def rank(self, host: Place, node: str) -> tuple[bool, int, int]:
        """The less, the better it is kept there."""
        return self._crowds_out(host, node), -self.left[node], self.pinned[node]

    def _crowds_out(self, host: Place, node: str) -> bool:
        """Whether the largest of the others would have no room on any node if this one were pinned here."""
        free = self.left[node]
        if not free - _size(host) < self._largest_bytes <= free:
            return False
        return all(left < self._largest_bytes for name, left in self.left.items() if name != node)


def _kept(hosts: Iterable[Place], floor: _Floor, in_memory: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """The nodes that pinned hosts are kept on, whose room they take: those named for them first, where all have as much room
    those with the fewest."""
    found: dict[str, list[str]] = {}
    for host in sorted((host for host in hosts if host.pin), key=_size, reverse=True):
        there, holding = in_memory.get(host.expert, ()), floor.holds(host)
        wished = _wished(host, holding)
        ranks = {node: (node not in wished, node not in there, *floor.rank(host, node)) for node in holding}
        found[host.expert] = sorted(ranks, key=ranks.__getitem__)[: max(host.spread.pinned, 1)]
        for node in found[host.expert]:
            floor.keep(host, node)
    return found


def _homes(host: Place, kept: list[str], floor: _Floor) -> list[str]:
    """The nodes that a host may live on: where it is kept, and those with room for it beside what is."""
    if not kept:
        return _wished(host, floor.holds(host)) or [NOWHERE]
    named = host.spread.nodes or floor.left
    return kept + [node for node in floor.holds(host) if node in named and node not in kept]


def _wished(host: Place, there: list[str]) -> list[str]:
    """Those of the nodes with room for it that are named for it, or else any."""
    named = [node for node in there if node in host.spread.nodes]
    if there and host.spread.nodes and not named:
        names = ", ".join(host.spread.nodes)
        logger.warning("placement: %s may live on any node, as none of %s has room for it", host.expert, names)
    return named or there


def _size(host: Place) -> int:
    return host.memory_bytes or 0
