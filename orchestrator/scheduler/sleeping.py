"""Who sleeps: hosts whose servers live on without their memory, within what they may keep of the machine's own. Pure.

    sleepers.stopped_for(host, now)         # whom to stop so that it can fall asleep; None when it is better stopped itself

A host that is evicted falls asleep where its server can: waking it takes less than launching it. What it keeps while it sleeps
(`Host.asleep_bytes`) is another memory than the budget of those that are awake. When that runs out, those go whose loss costs least
per byte: the seconds that waking saves over loading, times the rate of recent use. A part of `residents.py`, which does what is
decided here.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.scheduler.state import Host


class Sleepers:
    """`hosts` are those that fall asleep, sleep, or wake up: until it is awake, a host has what it kept."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.hosts: dict[Host, None] = {}

    @property
    def used_bytes(self) -> int:
        return sum(host.asleep_bytes for host in self.hosts)

    def fits(self, host: Host) -> bool:
        """Whether there is room for it as it is."""
        return self.used_bytes + host.asleep_bytes <= self.budget_bytes

    def stopped_for(self, host: Host, now: float) -> tuple[Host, ...] | None:
        """Whom to stop so that there is room for it; None when it can't sleep, or those that sleep are worth more."""
        if not host.can_sleep:
            return None
        worth = regret_asleep(host, now)
        cheaper = [other for other in self._at_rest() if regret_asleep(other, now) < worth]
        picked, short = _until_freed(cheaper, self._short(host.asleep_bytes), now)
        return picked if short <= 0 else None

    def too_many(self, now: float) -> tuple[Host, ...]:
        """Whom to stop when they keep more than they may."""
        return _until_freed(self._at_rest(), self._short(0), now)[0]

    def _short(self, more_bytes: int) -> int:
        leaving = sum(host.asleep_bytes for host in self.hosts if host.stopping)
        return self.used_bytes - leaving + more_bytes - self.budget_bytes

    def _at_rest(self) -> list[Host]:
        """Those that nobody waits for, nor has told to end."""
        return [host for host in self.hosts if host.state == "asleep" and not host.stopping and not host.queued]


def regret_asleep(host: Host, now: float) -> float:
    """What stopping it is expected to cost per byte freed, asleep or about to be."""
    saved_s = max(host.load_s.value - host.wake_s.value, 0.0)
    return saved_s * host.use_rate(now) / max(host.asleep_bytes, 1)


def _until_freed(hosts: Iterable[Host], short: int, now: float) -> tuple[tuple[Host, ...], int]:
    """The least regretted that free `short` bytes, and how many are short then."""
    picked = []
    for host in sorted(hosts, key=lambda host: regret_asleep(host, now)):
        if short <= 0:
            break
        picked.append(host)
        short -= host.asleep_bytes
    return tuple(picked), short
