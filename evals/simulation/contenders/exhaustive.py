"""Exhaustive service: a resident's queue is served out, however long that takes; then comes who has been wanted longest.

Source: polling systems (Takagi, Queueing analysis of polling models, 1988). The least recently used of those that nobody needs
goes. It is also what llama.cpp's router does (`tools/server/server-models.cpp`, since pull request 26572 of August 2026: requests
queue by model, and idle models make room, the least recently used first; before, a busy one was stopped and its requests lost).
"""

from __future__ import annotations

from evals.simulation.base import Setting, Trace
from evals.simulation.contenders.common import Contender
from orchestrator.scheduler.rules import Rules


class Exhaustive(Contender):
    """What all contenders have in common, and nothing else."""


def make(setting: Setting, trace: Trace) -> Rules:
    return Exhaustive()
