"""On demand, evicting the least recently used: what a cache of models does.

Requests for residents are served as they come. A request for another expert brings it in as soon as one resident has begun all
that was asked of it earlier; that one takes no new work, ends what it has, and goes, whoever asks for it by then. Source: a
textbook's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from evals.simulation.base import Setting, Trace
from evals.simulation.contenders.common import Contender, by_arrival, first_ticket
from orchestrator.scheduler.rules import Rules
from orchestrator.scheduler.state import Host


class Lru(Contender):
    """Loads in order of arrival; hits overtake."""

    def load_order(self, wanted: Mapping[Host, float], now: float) -> Iterable[Host]:
        return by_arrival(wanted)

    def leaves_at(self, resident: Host, wanted: Host, now: float) -> float:
        return now if first_ticket(wanted) <= first_ticket(resident) else math.inf


def make(setting: Setting, trace: Trace) -> Rules:
    return Lru()
