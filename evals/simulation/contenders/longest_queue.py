"""Exhaustive service, and then the expert with the most waiters: most requests a swap, at the cost of those that few ask for.

Source: "drain first" of llmux's `TimeSlicePolicy` (version 0.7), here without its bound on how stale a request may get, which is
`deadline.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from evals.simulation.base import Setting, Trace
from evals.simulation.contenders.exhaustive import Exhaustive
from orchestrator.scheduler.rules import Rules
from orchestrator.scheduler.state import Host


class LongestQueue(Exhaustive):
    """Whoever has most to do next."""

    def load_order(self, wanted: Mapping[Host, float], now: float) -> Iterable[Host]:
        return sorted(wanted, key=lambda host: -host.queued)


def make(setting: Setting, trace: Trace) -> Rules:
    return LongestQueue()
