"""Hosts and experts by name, and how they carry over when the fleet changes.

    roster = make_roster(roster, alive, places, budget_bytes, asleep_budget_bytes, changed=frozenset({"smollm2"}))

What stays the same keeps its object and with it its server, leases, queue and what was learned. A host that is to be launched
anew gets another object, which waits for the old one's server to be gone. Retiring what is left over is `core.py`'s task.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from orchestrator.scheduler.base import Place
from orchestrator.scheduler.concurrency import ConcurrencyLimit
from orchestrator.scheduler.health import Breaker
from orchestrator.scheduler.rules import (
    ASSUMED_MEMORY_BYTES,
    SERVED_CONCURRENCY,
    assumed_load_s,
    assumed_wake_s,
    check_places,
    concurrency,
    pinned_bytes,
)
from orchestrator.scheduler.state import Average, Expert, Host, MinuteWindow


class Roster(NamedTuple):
    """The fleet as the scheduler has it now."""

    hosts: dict[str, Host]
    experts: dict[str, Expert]


def make_roster(
    old: Roster,
    alive: Mapping[str, Host],
    places: Sequence[Place],
    budget_bytes: int,
    asleep_budget_bytes: int,
    changed: frozenset[str] = frozenset(),
    uniform: Callable[[], float] = random.random,
) -> Roster:
    """alive: who has a server, by name, be it one that was removed before. changed: hosts whose launch command is another one.

    Raises `ConfigError` before anything has changed."""
    check_places(places, budget_bytes)
    assumed = min(ASSUMED_MEMORY_BYTES, budget_bytes - pinned_bytes(places))
    hosts = {
        place.expert: _host(old.hosts.get(place.expert), alive, place, assumed, place.expert in changed)
        for place in places
        if place.expert == place.host
    }
    experts = {
        place.expert: _expert(old.experts.get(place.expert), place, hosts[place.host], uniform) for place in places
    }
    for host in hosts.values():
        host.most_asleep_bytes = asleep_budget_bytes
        host.experts = [expert for expert in experts.values() if expert.host is host]
    for expert in experts.values():
        windows = (expert.window, experts[expert.host.name].window)
        expert.windows = tuple({id(window): window for window in windows if window is not None}.values())
    return Roster(hosts, experts)


def _host(old: Host | None, alive: Mapping[str, Host], place: Place, assumed: int, changed: bool) -> Host:
    if old is not None and old.place.holds_weights == place.holds_weights and not changed:
        return _kept(old, place, assumed)
    memory_bytes = (place.memory_bytes or assumed) if place.holds_weights else 0
    host = Host(place, memory_bytes, concurrency(place), Average(assumed_load_s(memory_bytes)))
    host.wake_s = Average(assumed_wake_s(host.load_s.value))
    _limit(host)
    host.enter("cold" if place.holds_weights else "remote")
    host.predecessor = alive.get(place.expert)
    return host


def _kept(host: Host, place: Place, assumed: int) -> Host:
    host.place = place
    _limit(host)
    if place.holds_weights:
        host.memory_bytes = max(place.memory_bytes or 0, host.measured_bytes) or assumed
    if host.state == "cold":  # whoever edits the file may have mended it
        host.failures = 0
        host.sleepless = False
        host.not_before = -math.inf
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
    if place.rpm is None:
        expert.window = None
    elif expert.window is None:
        expert.window = MinuteWindow(place.rpm)
    else:
        expert.window.rpm = place.rpm
    return expert
