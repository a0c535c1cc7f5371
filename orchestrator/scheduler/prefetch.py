"""Loads ahead of demand, into memory that nobody needs, one at a time.

    prefetcher.used(host, session="s1", now=10.0)
    prefetcher.pick(hosts, {"": 4_000_000_000}, now=12.0)           # the cold host that will be asked soonest, or None

Never at anybody's cost: nothing is evicted for it, nothing is begun while somebody waits for a load, and a load that nobody has
come for by the time memory is short is broken off (`residency.py`). Hits and misses are counted on the host. Reading the files of a
host that already has waiters ahead of its load is the driver's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.scheduler.prediction import Predictor
from orchestrator.scheduler.state import Host

HORIZON_S = 30.0
LEAST_EXPECTED = 0.6
"""Requests expected for a load to be worth it: more than one session's example gives."""
PAUSE_S = 0.5
"""Between two looks."""


class Prefetcher:
    """Pure, as everything in the state machine. look_at: when to look again."""

    def __init__(self) -> None:
        self._predictor = Predictor()
        self.look_at = float("-inf")

    def used(self, host: Host, session: str | None, now: float) -> None:
        """The host has been given a request."""
        self._predictor.note(host.name, session, now)
        if host.prefetched:
            host.prefetched = False
            host.prefetch_hits += 1

    def pick(self, hosts: Iterable[Host], spare_bytes: Mapping[str, int], now: float) -> Host | None:
        """Of the hosts that can be loaded into what nodes can spare, the one most requests are expected for, if any is worth it."""
        self.look_at = now + PAUSE_S
        if not spare_bytes:
            return None
        expected = self._predictor.expected(now)
        best, most = None, LEAST_EXPECTED
        for host in hosts:
            if host.memory_bytes > spare_bytes.get(host.node, -1) or not _may_come(host, now):
                continue
            requests = expected.get(host.name, 0.0)
            if now < host.used_at + host.place.keep_alive_s:  # it would still be here, had others not needed its memory
                requests += host.use_rate(now) * HORIZON_S
            if requests >= most:
                best, most = host, requests
        return best


def _may_come(host: Host, now: float) -> bool:
    """It is not in memory, and nothing speaks against loading it."""
    if not host.loadable or host.dismissed or host.not_before > now or host.predecessor is not None:
        return False
    if host.at_hand_elsewhere:
        return False
    return host.memory_known and host.place.keep_alive_s >= HORIZON_S
