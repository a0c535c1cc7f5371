"""What the state machine wants done: servers started, put to sleep, woken and stopped, waiters answered, another look later.

    outbox.actions.append(Load(host, host.generation))
    outbox.wake_at(now + 4.0, host)         # and look at this host again by then
    outbox.wake                             # when that is

Not here: who does it (`driver.py`, or a simulator).
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from itertools import count

from orchestrator.errors import SwitchyardError
from orchestrator.scheduler.base import Lease
from orchestrator.scheduler.state import Host, Waiter


@dataclass(frozen=True, slots=True)
class Grant:
    """Tell the waiter that it has a lease."""

    waiter: Waiter
    lease: Lease


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell the waiter that it gets none."""

    waiter: Waiter
    error: SwitchyardError


@dataclass(frozen=True, slots=True)
class Load:
    """Launch the host's server; then report `loaded` or `load_failed`."""

    host: Host
    generation: int


@dataclass(frozen=True, slots=True)
class Sleep:
    """Put the host's server to sleep; then report `slept`, or, once it is ended because it didn't, `died`."""

    host: Host
    generation: int


@dataclass(frozen=True, slots=True)
class Wake:
    """Wake the host's server; then report `loaded`, or, once it is ended because it didn't, `died`."""

    host: Host
    generation: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End the host's server, or its launch; then report `stopped`."""

    host: Host


Action = Grant | Refuse | Load | Sleep | Wake | Stop


class Outbox:
    """What the state machine asks for: actions, files read ahead of loads, and to be called again when something is due for a host.

    wanted: who has begun to wait for a load, whose files could be read meanwhile. news: nodes where something may follow.
    """

    __slots__ = ("_due", "_numbers", "actions", "news", "wanted")

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.wanted: dict[Host, None] = {}
        self.news: dict[str, None] = {}
        self._due: list[tuple[float, int, Host]] = []
        self._numbers = count()

    @property
    def wake(self) -> float:
        """The next time when something is due; infinity when never."""
        while self._due and self._due[0][0] != self._due[0][2].look_at:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else math.inf

    def wake_at(self, at: float, host: Host) -> None:
        """Look at the host again by then. What is due later is asked for again when it is looked at."""
        if at < host.look_at:
            host.look_at = at
            heapq.heappush(self._due, (at, next(self._numbers), host))

    def due(self, now: float) -> list[Host]:
        """Whom to look at."""
        hosts = []
        while self._due and self._due[0][0] <= now:
            at, _, host = heapq.heappop(self._due)
            if at == host.look_at:
                host.look_at = math.inf
                hosts.append(host)
        return hosts
