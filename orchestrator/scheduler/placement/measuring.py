"""What was asked of each expert, counted from decisions: the demand that a placement is made for.

    traffic = Traffic({"small": Home("small", 2_000_000_000, concurrency=4)})
    for decision in decisions:
        traffic.add(decision)
    traffic.demands(3600.0), traffic.together(3600.0)          # of the hour in which these decisions were made

Personas and prompts count for the expert whose weights they need. Experts that hold no weights here live nowhere, and are left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from orchestrator.scheduler.placement.base import Demand, Together
from orchestrator.types import Decision


@dataclass(frozen=True, slots=True)
class Home:
    """host: the expert whose weights it needs. concurrency: requests that these serve at once, each as fast as if alone."""

    host: str
    memory_bytes: int
    concurrency: int


class Traffic:
    """homes: by expert, those with weights."""

    def __init__(self, homes: Mapping[str, Home]) -> None:
        self._homes = homes
        self._asked: Counter[str] = Counter()
        self._work_s: defaultdict[str, float] = defaultdict(float)
        self._pairs: Counter[tuple[str, str]] = Counter()

    def add(self, decision: Decision) -> None:
        """Count the calls that were answered. Experts are a pair when one request asked both."""
        hosts = set()
        for attempt in decision.attempts:
            home = self._homes.get(attempt.expert)
            if home is None or attempt.outcome != "ok":
                continue
            hosts.add(home.host)
            self._asked[home.host] += 1
            self._work_s[home.host] += attempt.latency_s / home.concurrency
        self._pairs.update(combinations(sorted(hosts), 2))

    def demands(self, seconds: float) -> tuple[Demand, ...]:
        """Of every host, those that nobody asked as well."""
        memory = {home.host: home.memory_bytes for home in self._homes.values()}
        return tuple(
            Demand(host, memory_bytes, self._asked[host] / seconds, self._work_s[host] / max(self._asked[host], 1))
            for host, memory_bytes in memory.items()
        )

    def together(self, seconds: float) -> tuple[Together, ...]:
        return tuple(Together(pair, count / seconds) for pair, count in sorted(self._pairs.items()))
