"""llama-swap's matrix router with its default scheduler: whoever runs is served, a swap waits until its victim has nobody left.

Source: `internal/router/scheduler/fifo.go` and `matrix.go`. Requests for what runs go through at once. The others queue in order
of arrival; each names its victim, the set of running models that is cheapest to evict, by the measured load time in milliseconds,
and waits until that one has no request in flight, even when another is idle. There is no bound on that. The sets are all that fit
into memory. Among equally cheap victims, llama-swap takes the one that the order of its configuration says; here any that is idle.

Not modelled: the limit of ten requests in flight per model, above which it answers 429; declared priorities; the default group,
in which one model runs at a time; sets that need several victims at once name the cheapest ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from evals.simulation.base import Setting, Trace
from evals.simulation.contenders.common import Contender
from orchestrator.scheduler.rules import Rules
from orchestrator.scheduler.state import Host


class LlamaSwap(Contender):
    """Knows every model that was ever asked for, and so which of them run."""

    def __init__(self) -> None:
        self._asked: dict[Host, None] = {}

    def load_order(self, wanted: Mapping[Host, float], now: float) -> Iterable[Host]:
        self._asked.update(dict.fromkeys(wanted))
        return list(wanted)

    def leaves_at(self, resident: Host, wanted: Host, now: float) -> float:
        running = (host for host in self._asked if host.state in {"loading", "ready", "draining"})
        cheaper = sum(host.memory_bytes for host in running if _cost(host) < _cost(resident))
        if cheaper >= wanted.memory_bytes:
            return math.inf  # busy or not
        return now if resident.idle else math.inf

    def eviction_key(self, host: Host, now: float) -> tuple[float, ...]:
        return (_cost(host), host.used_at)


def _cost(host: Host) -> int:
    """Its load time in milliseconds."""
    return round(1000 * host.load_s.value)


def make(setting: Setting, trace: Trace) -> Rules:
    return LlamaSwap()
