"""Ray Serve's model multiplexing: one load at a time behind a lock, the least recently used goes, in use or not.

Source: `python/ray/serve/multiplex.py`. A request whose model is loaded takes it; one whose model isn't queues at the lock, and
whoever holds it unloads the first of an ordered dictionary and loads its own. Here that is one replica whose
`max_num_models_per_replica` is the number of places. Not modelled: Ray drops a model that requests still run on, so that memory
goes over what was allowed until they end; nothing that is leased leaves here, and what was asked of the model before is begun
first. Neither is Serve's routing among replicas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from evals.simulation.base import Setting, Trace
from evals.simulation.contenders.common import by_arrival
from evals.simulation.contenders.lru import Lru
from orchestrator.scheduler.rules import Rules
from orchestrator.scheduler.state import Host


class RayServe(Lru):
    """`Lru` with the lock, whose holder loads or waits for room."""

    def __init__(self) -> None:
        self._holder: Host | None = None

    def load_order(self, wanted: Mapping[Host, float], now: float) -> Iterable[Host]:
        if self._holder is not None and self._holder.state == "loading":
            return []
        if self._holder not in wanted:
            self._holder = by_arrival(wanted)[0] if wanted else None
        return [] if self._holder is None else [self._holder]


def make(setting: Setting, trace: Trace) -> Rules:
    return RayServe()
