"""Where the experts of one `experts.yaml` may live on a cluster: on every node that they fit on.

    spread(make_places(config, base_dir), {"node-1": NodeMemory(64_000_000_000)})       # a place for each node

Which of these they are loaded on is decided as requests come (`orchestrator/scheduler/`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.errors import ConfigError
from orchestrator.scheduler.base import NodeMemory, Place
from orchestrator.scheduler.rules import pinned_bytes


def spread(places: Sequence[Place], nodes: Mapping[str, NodeMemory]) -> tuple[Place, ...]:
    """Raises `ConfigError` for an expert that fits on none of the nodes."""
    hosts = {place.expert: place for place in places if place.expert == place.host}
    pinned = pinned_bytes(places)
    found: list[Place] = []
    for place in places:
        if not place.holds_weights:
            found.append(place)
            continue
        host = hosts[place.host]
        beside = 0 if host.pin else pinned
        there = [name for name, memory in nodes.items() if (host.memory_bytes or 0) + beside <= memory.budget_bytes]
        if not there:
            most = max((memory.budget_bytes for memory in nodes.values()), default=0)
            need = f"{(host.memory_bytes or 0) / 1e9:.1f} GB"
            raise ConfigError(f"'{host.expert}' needs {need}; no node has more than {most / 1e9:.1f} GB for experts")
        found += [replace(place, node=name) for name in there]
    return tuple(found)
