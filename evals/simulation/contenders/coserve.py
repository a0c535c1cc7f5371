"""CoServe's rules: requests are arranged behind those of the same expert, and the expert that is least likely to be used goes.

Source: CoServe (ASPLOS 2025, arXiv 2503.02354), by what its abstract and others say of it; there is no public code. A request
joins the group of its expert in the queue, so that groups are served whole and in order of their first request; the expert with the
lowest usage probability, assessed beforehand, is evicted. Here that is its true share of the trace. Not modelled: dependencies
between experts, which it goes by first (requests here need one expert), and queues per processor: a group takes whichever place is
free first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from evals.simulation.base import Setting, Trace
from evals.simulation.contenders.common import Contender, by_arrival
from orchestrator.scheduler.rules import Rules
from orchestrator.scheduler.state import Host


class CoServe(Contender):
    """probabilities: of use, by expert."""

    def __init__(self, probabilities: Mapping[str, float]) -> None:
        self._probabilities = probabilities

    def load_order(self, wanted: Mapping[Host, float], now: float) -> Iterable[Host]:
        return by_arrival(wanted)

    def eviction_key(self, host: Host, now: float) -> tuple[float, ...]:
        return (self._probabilities[host.name],)


def make(setting: Setting, trace: Trace) -> Rules:
    counts = np.bincount(trace.expert, minlength=len(setting.experts)) / max(len(trace), 1)
    return CoServe(dict(zip(setting.experts, counts.tolist(), strict=True)))
