"""Ollama's scheduler: while the head of the line waits for an unload, nobody behind it gets through, not even to what is loaded.

Source: `server/sched.go`. `processPending` takes requests in order of arrival. One whose model is loaded or loading is handed to
its runner, which queues it. For another, `findRunnerToUnload` picks an idle runner with the shortest keep-alive, or, when none is
idle, the first by keep-alive, which then ends all it was handed; until it is gone the loop stands still ("we're queueing up all
incoming requests, even if they were for a different model that's loaded"). Keep-alives are equal here, and ties
go in the setting's order.

Not modelled: one load at a time per GPU (every place is taken to be a GPU of its own), partial offloading, reloads for other
options, keep-alives that run out, and the bounded queue that answers 503.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from evals.simulation.base import Setting, Trace
from evals.simulation.contenders.common import Contender, by_arrival, first_ticket
from orchestrator.scheduler.rules import Rules
from orchestrator.scheduler.state import Expert, Host, Waiter


class Ollama(Contender):
    """Blocks behind unloads. ranks: the order in which equals are unloaded, by expert."""

    keeps_order = True

    def __init__(self, ranks: Mapping[str, float]) -> None:
        self._ranks = ranks
        self._line: list[Host] = []

    def load_order(self, wanted: Mapping[Host, float], now: float) -> Iterator[Host]:
        self._line = by_arrival(wanted)
        for host in self._line:
            yield host
            if host.state == "cold":
                return  # it blocks those behind it

    def leaves_at(self, resident: Host, wanted: Host, now: float) -> float:
        return now if first_ticket(wanted) <= first_ticket(resident) else math.inf

    def eviction_key(self, host: Host, now: float) -> tuple[float, ...]:
        return (not host.idle, self._ranks[host.name])

    def may_overtake(self, expert: Expert, oldest: Waiter, now: float) -> bool:
        blocked = min((first_ticket(host) for host in self._line if host.state == "cold"), default=math.inf)
        return blocked == math.inf or first_ticket(expert.host) < blocked


def make(setting: Setting, trace: Trace) -> Rules:
    return Ollama({name: float(index) for index, name in enumerate(setting.experts)})
