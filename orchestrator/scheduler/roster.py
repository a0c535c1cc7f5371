"""Hosts and experts by name, and how they carry over when the fleet changes, or its nodes.

    roster = make_roster(roster, alive, places, {"": NodeMemory(budget_bytes)}, changed=frozenset({"smollm2"}))

What stays the same keeps its object and with it its server, leases, queue and what was learned. A host that is to be launched
anew gets another object, which waits for the old one's server to be gone. Retiring what is left over is `core.py`'s task.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from typing import NamedTuple

from orchestrator.scheduler.base import NodeMemory, Place
from orchestrator.scheduler.concurrency import ConcurrencyLimit
from orchestrator.scheduler.fairness import RankedQueue, Turns
from orchestrator.scheduler.health import Breaker
from orchestrator.scheduler.meters import Average
from orchestrator.scheduler.rules import (
    ASSUMED_MEMORY_BYTES,
    SERVED_CONCURRENCY,
    assumed_load_s,
    assumed_wake_s,
    check_places,
    concurrency,
    pinned_bytes,
    places_by_node,
)
from orchestrator.scheduler.state import Expert, Host, Rate, Replicas, host_key


class Roster(NamedTuple):
    """The fleet as the scheduler has it now. hosts: by key. replicas: by expert. experts: the same, but for lost nodes."""

    hosts: dict[str, Host]
    replicas: dict[str, Replicas]
    experts: dict[str, Replicas]


def make_roster(
    old: Roster,
    alive: Mapping[str, Host],
    places: Sequence[Place],
    nodes: Mapping[str, NodeMemory],
    changed: frozenset[str] = frozenset(),
    lost: Container[str] = (),
    uniform: Callable[[], float] = random.random,
) -> Roster:
    """alive: who has a server, by key, be it one that was removed before. changed: experts whose launch command is another one.

    Raises `ConfigError` before anything has changed."""
    check_places(places, nodes)
    pinned = {node: pinned_bytes(here) for node, here in places_by_node(places).items()}
    hosts: dict[str, Host] = {}
    loaded = {host.name: host for host in sorted(old.hosts.values(), key=_measured_bytes) if host.loads}
    turns = {host.name: host.turns for host in old.hosts.values()}
    for place in places:
        if place.expert == place.host:
            memory, key = nodes[place.node], host_key(place.expert, place.node)
            assumed = min(ASSUMED_MEMORY_BYTES, memory.budget_bytes - pinned[place.node])
            host = hosts[key] = _host(old.hosts.get(key), alive.get(key), place, assumed, place.expert in changed)
            host.turns = turns.setdefault(place.expert, host.turns)
            host.most_asleep_bytes = memory.asleep_budget_bytes
            like = loaded.get(place.expert)
            if (
                like is not None
                and host.state == "cold"
                and not host.loads
                and (like.node != host.node or like.retired)
            ):
                _learn_from(host, like)
    replicas = _replicas(old, places, hosts, uniform)
    experts = {name: tuple(r for r in all_ if r.place.node not in lost) for name, all_ in replicas.items()}
    for host in hosts.values():
        host.replicas = tuple(replica.host for replica in experts[host.name])
    return Roster(hosts, replicas, experts)


def _replicas(
    old: Roster, places: Sequence[Place], hosts: Mapping[str, Host], uniform: Callable[[], float]
) -> dict[str, Replicas]:
    before = {(replica.name, replica.place.node): replica for all_ in old.replicas.values() for replica in all_}
    windows: dict[str, Rate | None] = {name: all_[0].window for name, all_ in old.replicas.items() if all_}
    found: defaultdict[str, list[Expert]] = defaultdict(list)
    on: defaultdict[Host, list[Expert]] = defaultdict(list)
    for place in places:
        host = hosts[host_key(place.host, place.node)]
        expert = _expert(before.get((place.expert, place.node)), place, host, uniform)
        expert.window = windows[place.expert] = _window(windows.get(place.expert), place, host.turns)
        found[place.expert].append(expert)
        on[host].append(expert)
    for host, experts in on.items():
        host.experts = experts
        for expert in experts:
            both = (expert.window, windows[host.name])
            expert.windows = tuple({id(window): window for window in both if window is not None}.values())
            for window in expert.windows:
                for waiter in expert.queue:
                    window.queue.add(waiter)
    return {name: tuple(replicas) for name, replicas in found.items()}


def _measured_bytes(host: Host) -> int:
    return host.measured_bytes


def _learn_from(host: Host, other: Host) -> None:
    """What is known of the same weights elsewhere, or of a server that was lost here."""
    host.load_s.assume(other.load_s.value)
    host.wake_s.assume(other.wake_s.value)
    host.sleep_s.assume(other.sleep_s.value)
    host.service_s.assume(other.service_s.value)
    if other.measured_bytes and not host.measured_bytes:
        host.measured_bytes = other.measured_bytes
        host.memory_bytes = max(host.place.memory_bytes or 0, host.measured_bytes)


def _host(old: Host | None, alive: Host | None, place: Place, assumed: int, changed: bool) -> Host:
    """alive: who has a server of this name there."""
    if old is not None and not old.retired and old.place.holds_weights == place.holds_weights and not changed:
        return _kept(old, place, assumed)
    memory_bytes = (place.memory_bytes or assumed) if place.holds_weights else 0
    host = Host(place, memory_bytes, concurrency(place), Average(assumed_load_s(memory_bytes)))
    host.wake_s = Average(assumed_wake_s(host.load_s.value))
    _limit(host)
    host.enter("cold" if place.holds_weights else "remote")
    host.predecessor = alive
    return host


def _kept(host: Host, place: Place, assumed: int) -> Host:
    host.place = place
    _limit(host)
    if place.holds_weights:
        host.memory_bytes = max(place.memory_bytes or 0, host.measured_bytes) or assumed
    return host


def _limit(host: Host) -> None:
    """The concurrency that is declared, or that has been found out."""
    place = host.place
    host.limit = concurrency(place)
    if place.concurrency is not None or not place.holds_weights:
        host.learned = None
    elif host.learned is None:
        host.learned = ConcurrencyLimit(SERVED_CONCURRENCY)
    else:
        host.limit = host.learned.value


def _expert(old: Expert | None, place: Place, host: Host, uniform: Callable[[], float]) -> Expert:
    expert = old if old is not None and old.host is host else Expert(place, host, Breaker(uniform))
    expert.place = place
    expert.limit = math.inf if place.expert == place.host or place.concurrency is None else place.concurrency
    return expert


def _window(old: Rate | None, place: Place, turns: Turns) -> Rate | None:
    """The expert's, whichever of its replicas serves."""
    if place.rpm is None:
        return None
    window = old or Rate(place.rpm, turns)
    window.rpm, window.queue = place.rpm, RankedQueue(turns)
    return window
