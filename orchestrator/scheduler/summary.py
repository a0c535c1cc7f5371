"""What the replicas of each expert come to together, for those who don't care where they are.

    by_expert(scheduler.status())["smollm2"].waiting

Not here: the replicas themselves (`Scheduler.status`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from orchestrator.scheduler.base import ExpertStatus, State

READIEST: tuple[State, ...] = ("remote", "ready", "loading", "draining", "falling_asleep", "asleep", "cold")


def by_expert(statuses: Iterable[ExpertStatus]) -> dict[str, ExpertStatus]:
    """One for each expert, in their order: counts and bytes are sums, the rest is the best replica's."""
    found: dict[str, list[ExpertStatus]] = {}
    for status in statuses:
        found.setdefault(status.expert, []).append(status)
    return {name: _together(replicas) for name, replicas in found.items()}


def _together(replicas: Sequence[ExpertStatus]) -> ExpertStatus:
    if len(replicas) == 1:
        return replicas[0]
    best = min(replicas, key=lambda status: READIEST.index(status.state))
    return replace(
        best,
        leases=sum(status.leases for status in replicas),
        waiting=sum(status.waiting for status in replicas),
        expected_wait_s=min(status.expected_wait_s for status in replicas),
        breaker=min((status.breaker for status in replicas), key=("closed", "half_open", "open").index),
        memory_bytes=sum(status.memory_bytes for status in replicas),
        loads=sum(status.loads for status in replicas),
        prefetch_hits=sum(status.prefetch_hits for status in replicas),
        prefetch_misses=sum(status.prefetch_misses for status in replicas),
        asleep_bytes=sum(status.asleep_bytes for status in replicas),
        node="",
    )
