"""Strict first in, first out: nobody is served before somebody who came earlier.

Experts that the next in line need are loaded meanwhile, each into a place that nobody ahead of them needs any more, the least
recently used first. Those at the head of the line that want the same expert share a batch. Source: a textbook's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from evals.simulation.base import Setting, Trace
from evals.simulation.contenders.common import Contender, by_arrival, first_ticket
from orchestrator.scheduler.rules import Rules
from orchestrator.scheduler.state import Expert, Host, Waiter


class Fifo(Contender):
    """Every request in order of arrival."""

    keeps_order = True

    def load_order(self, wanted: Mapping[Host, float], now: float) -> Iterable[Host]:
        return by_arrival(wanted)

    def leaves_at(self, resident: Host, wanted: Host, now: float) -> float:
        return now if first_ticket(wanted) <= first_ticket(resident) else math.inf

    def may_overtake(self, expert: Expert, oldest: Waiter, now: float) -> bool:
        return False


def make(setting: Setting, trace: Trace) -> Rules:
    return Fifo()
