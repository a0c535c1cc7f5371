"""What was asked of each expert, counted from decisions: the demand that a placement is made for.

    traffic = Traffic({"small": Home("small", 2_000_000_000, concurrency=4)})
    for decision in decisions:
        traffic.add(decision)
    traffic.demands(3600.0), traffic.together(3600.0)          # of the hour in which these decisions were made

Personas and prompts count for the expert whose weights they need. Experts that hold no weights here live nowhere, and are left out.
Work is the time in which a server was busy, where half of what it can do at once is half of it; where nobody said how much that is,
it is the most that it was seen to do.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from orchestrator.scheduler.placement.base import Demand, Together
from orchestrator.types import Decision


@dataclass(frozen=True, slots=True)
class Home:
    """host: the expert whose weights it needs. concurrency: requests that these serve at once; None when that isn't declared."""

    host: str
    memory_bytes: int
    concurrency: int | None


class Traffic:
    """homes: by expert, those with weights."""

    def __init__(self, homes: Mapping[str, Home]) -> None:
        self._homes = homes
        self._asked: Counter[str] = Counter()
        self._busy: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
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
            began = decision.created_at + attempt.began_s + attempt.wait_s
            self._busy[home.host].append((began, began + attempt.latency_s))
        self._pairs.update(combinations(sorted(hosts), 2))

    def demands(self, seconds: float) -> tuple[Demand, ...]:
        """Of every host, those that nobody asked as well."""
        hosts = {home.host: home for home in self._homes.values()}
        return tuple(
            Demand(host, home.memory_bytes, self._asked[host] / seconds, self._work_s(home) / max(self._asked[host], 1))
            for host, home in hosts.items()
        )

    def together(self, seconds: float) -> tuple[Together, ...]:
        return tuple(Together(pair, count / seconds) for pair, count in sorted(self._pairs.items()))

    def _work_s(self, home: Home) -> float:
        """Seconds of all that the host can do. More at once than that waits, as lines of a batch do, and is no more work."""
        spans = np.array(self._busy[home.host]).reshape(-1, 2)
        times = spans.ravel()
        order = np.argsort(times, kind="stable")
        under_way = np.cumsum(np.tile([1, -1], len(spans))[order])[:-1]
        most = home.concurrency or max(under_way.max(initial=1), 1)
        return float(np.minimum(under_way, most) @ np.diff(times[order])) / most
