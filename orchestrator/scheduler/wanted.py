"""Who is to be loaded, since when, and for whom others have made room. A part of the state machine in `core.py`; pure like it.

    wanted.want(host, now)                  # somebody waits for it, or it was chosen
    wanted.since[host]                      # the longest wanted come first
    wanted.taken(host, now)                 # its load has begun

Not here: who is loaded first (`rules.py`), and when (`residency.py`).
"""

from __future__ import annotations

import math
from operator import itemgetter

from orchestrator.scheduler.actions import Outbox
from orchestrator.scheduler.meters import Average
from orchestrator.scheduler.rules import MAX_STAY, MIN_STAY
from orchestrator.scheduler.state import Host


class Wanted:
    """On one node, which has news when somebody is wanted anew, or no longer is. turn_s: between two loads while others are."""

    def __init__(self, node: str, outbox: Outbox) -> None:
        self._node = node
        self.since: dict[Host, float] = {}
        self.promised: dict[Host, None] = {}
        self.turn_s = Average(MIN_STAY)
        self._loaded_at = -math.inf
        self._outbox = outbox

    def __len__(self) -> int:
        return len(self.since)

    def __contains__(self, host: Host) -> bool:
        return host in self.since

    def want(self, host: Host, now: float) -> None:
        """Somebody waits for a host that isn't ready. It is wanted from the first such call until it is loaded.

        Who was left behind when it was last evicted counts from its arrival, but for the longest stay of a resident at most: so
        nobody is overtaken for ever by one that always leaves somebody behind.
        """
        host.dismissed = False
        if host in self.since or host.at_hand:
            return
        arrived = min((expert.queue.oldest_at for expert in host.experts), default=now)
        self._outbox.news[self._node] = None
        self._outbox.wanted[host] = None
        since = host.wanted_since = min(now, max(arrived, now - MAX_STAY * host.reload_s))
        out_of_order = bool(self.since) and since < next(reversed(self.since.values()))
        self.since[host] = since
        if out_of_order:
            self.since = dict(sorted(self.since.items(), key=itemgetter(1)))

    def drop(self, host: Host) -> None:
        """Nobody waits for it any more, and unless it was chosen it isn't wanted: what was done for it may be called off."""
        if not host.chosen and self.since.pop(host, None) is not None:
            self.promised.pop(host, None)
            self._outbox.news[self._node] = None

    def forget(self, host: Host) -> None:
        """Nobody can ask for it any more, or it can't be loaded, or must not be: it is not chosen either."""
        host.chosen = False
        if not host.queued:
            self.drop(host)

    def taken(self, host: Host, now: float) -> None:
        """It is being loaded, wanted or not."""
        host.chosen = False
        self.promised.pop(host, None)
        waited_since = self.since.pop(host, now)
        if waited_since < now:
            self.turn_s.add(now - max(self._loaded_at, waited_since))
        self._loaded_at = now

    def stays(self, host: Host) -> None:
        """It need not be loaded after all: it is still there."""
        self.since.pop(host, None)
        self.promised.pop(host, None)
