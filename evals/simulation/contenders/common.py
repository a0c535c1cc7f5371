"""What most contenders do alike, and what they ask of hosts: `class Fifo(Contender): ...`.

    first_ticket(host)          # who has waited longest for it, as a number in order of arrival; infinity when nobody waits
    by_arrival(wanted)          # hosts, those first whose first waiter came first

Not here: anything that only one of them does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from orchestrator.scheduler.state import Expert, Host, Waiter


class Contender:
    """On demand: who has been wanted longest is loaded first; idle residents give way, the least recently used first."""

    keeps_order = False
    prefetches = False

    def load_order(self, wanted: Mapping[Host, float], now: float) -> Iterable[Host]:
        return list(wanted)

    def leaves_at(self, resident: Host, wanted: Host, now: float) -> float:
        return now if resident.idle else math.inf

    def eviction_key(self, host: Host, now: float) -> tuple[float, ...]:
        return (host.used_at,)

    def may_overtake(self, expert: Expert, oldest: Waiter, now: float) -> bool:
        return True


def first_ticket(host: Host) -> float:
    """When its first waiter came, as a number in order of arrival; infinity when nobody waits."""
    return min((head.ticket for head in _heads(host)), default=math.inf)


def first_arrival_s(host: Host) -> float:
    """The same in seconds."""
    return min((head.arrived for head in _heads(host)), default=math.inf)


def by_arrival(wanted: Iterable[Host]) -> list[Host]:
    """Those first whose first waiter came first."""
    return sorted(wanted, key=first_ticket)


def _heads(host: Host) -> list[Waiter]:
    return [head for expert in host.experts if (head := expert.queue.head) is not None]
