"""Exhaustive service within a residency quantum: a busy resident gives way once it has been there for four of its swap times.

Source: polling systems with limited service. Four swap times keep swapping at a fifth of the time. Not adaptive to load.
"""

from __future__ import annotations

from evals.simulation.base import Setting, Trace
from evals.simulation.contenders.exhaustive import Exhaustive
from orchestrator.scheduler.rules import Rules
from orchestrator.scheduler.state import Host

SWAP_TIMES = 4.0


class Quantum(Exhaustive):
    """Exhaustive until the quantum is over."""

    def leaves_at(self, resident: Host, wanted: Host, now: float) -> float:
        return now if resident.idle else resident.since + SWAP_TIMES * resident.load_s.value


def make(setting: Setting, trace: Trace) -> Rules:
    return Quantum()
