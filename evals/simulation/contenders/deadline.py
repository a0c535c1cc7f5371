"""Exhaustive service with a maximum wait: a busy resident gives way at once to an expert for which somebody has waited 30 s.

Source: the staleness bound (`max_wait`) of llmux's `TimeSlicePolicy`, version 0.7, and a common reflex. A resident that gives way
takes no new requests and ends those that it has; who still waits for it is stale soon, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from evals.simulation.base import Setting, Trace
from evals.simulation.contenders.common import by_arrival, first_arrival_s
from evals.simulation.contenders.exhaustive import Exhaustive
from orchestrator.scheduler.rules import Rules
from orchestrator.scheduler.state import Host

MAX_WAIT_S = 30.0


class Deadline(Exhaustive):
    """Exhaustive until somebody is stale; the oldest first."""

    def load_order(self, wanted: Mapping[Host, float], now: float) -> Iterable[Host]:
        return by_arrival(wanted)

    def leaves_at(self, resident: Host, wanted: Host, now: float) -> float:
        return now if resident.idle else first_arrival_s(wanted) + MAX_WAIT_S


def make(setting: Setting, trace: Trace) -> Rules:
    return Deadline()
