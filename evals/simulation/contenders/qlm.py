"""QLM's rules: requests in groups of one expert and one objective, groups by deadline, a swap between them.

Source: QLM (SoCC 2024, arXiv 2407.00047) and its released `scheduler.py`, whose policy is earliest deadline first (the linear
program, which needs a solver's licence, falls back to it whenever an objective can't be met). Once a group has been served, the
place goes to the group whose first request has the earliest deadline, which is the expert's own next one if it has waited longest.
All objectives are equal here, so that deadlines are in order of arrival. Simplified: a group is what four batches serve from when
its expert was loaded (with groups that may grow for ever, these would be the rules of `exhaustive.py`). Not modelled: the linear
program, eviction of running requests to host memory, and virtual queues per instance: a group takes whichever place is free first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from evals.simulation.base import Setting, Trace
from evals.simulation.contenders.common import Contender, by_arrival, first_ticket
from orchestrator.scheduler.rules import Rules
from orchestrator.scheduler.state import Host

GROUP_BATCHES = 4


class Qlm(Contender):
    """Group after group, the earliest deadline first."""

    def load_order(self, wanted: Mapping[Host, float], now: float) -> Iterable[Host]:
        return by_arrival(wanted)

    def leaves_at(self, resident: Host, wanted: Host, now: float) -> float:
        if resident.idle:
            return now
        if first_ticket(resident) < first_ticket(wanted):
            return math.inf
        return resident.since + GROUP_BATCHES * resident.service_s.value


def make(setting: Setting, trace: Trace) -> Rules:
    return Qlm()
