"""A reference that knows what will come: exhaustive service, and the resident that will be asked for last is evicted.

Source: Belady, "A study of replacement algorithms for a virtual-storage computer", 1966. When requests are served in order no
eviction has fewer misses (Mattson et al. 1970). It is no bound here, where they may be regrouped; `bound.py` has one. Where a
policy chooses the expert, it goes by what the trace says; and where requests wait for answers (sessions), by times at which they
would come if every answer took no time, so that what it knows there is only near the truth.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evals.simulation.base import Floats, Setting, Trace
from evals.simulation.contenders.exhaustive import Exhaustive
from orchestrator.scheduler.rules import Rules
from orchestrator.scheduler.state import Host


class Belady(Exhaustive):
    """arrivals_s: when each expert is asked for, ascending."""

    def __init__(self, arrivals_s: Mapping[str, Floats]) -> None:
        self._arrivals_s = arrivals_s

    def eviction_key(self, host: Host, now: float) -> tuple[float, ...]:
        arrivals_s = self._arrivals_s[host.name]
        following = np.searchsorted(arrivals_s, now, side="right")
        return (-float(arrivals_s[following]) if following < len(arrivals_s) else -np.inf,)


def make(setting: Setting, trace: Trace) -> Rules:
    return Belady({name: trace.at_s[trace.expert == index] for index, name in enumerate(setting.experts)})
