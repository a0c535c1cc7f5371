"""Whether loads progress while work waits; a gateway whose loads don't should be sent no more requests.

    readiness = Readiness()
    readiness.problem(scheduler.status(), load_s={"smollm2": 300}, now=time.monotonic())    # None: all is well

Not here: the endpoint that asks (`health.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.scheduler.base import ExpertStatus


class Readiness:
    """Remembers between probes since when each expert has had requests waiting without a load of its getting done."""

    def __init__(self) -> None:
        self._stuck_since: dict[tuple[str, str, int], float] = {}

    def problem(self, statuses: Iterable[ExpertStatus], load_s: Mapping[str, float], now: float) -> str | None:
        """Which expert's load makes no progress; None when all do. load_s: what a load may take. now: seconds."""
        stuck = {(s.expert, s.node, s.loads) for s in statuses if s.waiting and s.state in ("cold", "loading")}
        self._stuck_since = {key: self._stuck_since.get(key, now) for key in stuck}
        for (expert, _, _), since in self._stuck_since.items():
            if now - since > load_s.get(expert, 0.0):
                return f"requests wait for {expert}, and its load makes no progress"
        return None
