"""What answers batches in a running service: one floor for all of them, so that batches which run together share their loads.

bulk = make_bulk(fleet=lambda: service.fleet, scheduler=scheduler, ledger=ledger, record=record, budget_bytes=budget)
await run.work(bulk.floor)                   # a `Run` that was made with bulk.answerer
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.bulk.asking import Answerer
from orchestrator.bulk.floor import Floor
from orchestrator.bulk.waves import Memory, Seen
from orchestrator.config import ServedBase
from orchestrator.fleet.snapshot import Fleet
from orchestrator.ledger.base import Ledger
from orchestrator.scheduler.base import Scheduler
from orchestrator.scheduler.summary import by_expert
from orchestrator.types import Decision

_IN_MEMORY = frozenset({"loading", "ready"})


@dataclass(frozen=True, slots=True)
class Bulk:
    floor: Floor
    answerer: Answerer


def make_bulk(
    *,
    fleet: Callable[[], Fleet],
    scheduler: Scheduler,
    ledger: Ledger,
    record: Callable[[Decision], None],
    budget_bytes: Callable[[], int],
) -> Bulk:
    """budget_bytes: what all experts may use together; pinned ones are taken off here."""

    def look() -> Seen:
        specs, status = fleet().specs, scheduler.status()
        replicas = Counter(each.expert for each in status)
        hosts = {
            name: Memory(each.state in _IN_MEMORY, _size(specs[name], each.memory_bytes), replicas[name])
            for name, each in by_expert(status).items()
            if isinstance(specs.get(name), ServedBase)
        }
        return Seen(hosts, budget_bytes() - _pinned(fleet()))

    unloading: set[asyncio.Task[None]] = set()

    def dismiss(host: str) -> None:
        """Unload it at once, before those are asked that need the room, unless somebody else has found it useful."""
        sharing = [
            each for each in scheduler.status() if (spec := fleet().specs.get(each.expert)) and spec.host == host
        ]
        if sharing and not any(each.leases or each.waiting for each in sharing):
            task = asyncio.create_task(scheduler.unload(host))
            unloading.add(task)
            task.add_done_callback(unloading.discard)

    floor = Floor(look, dismiss)
    return Bulk(floor, Answerer(floor, fleet=fleet, scheduler=scheduler, ledger=ledger, record=record))


def _size(spec: object, measured_bytes: int) -> int | None:
    """What it takes besides the pinned ones; None when that isn't known yet."""
    assert isinstance(spec, ServedBase)
    if spec.residency.pinned:
        return 0
    return measured_bytes or _declared(spec) or None


def _declared(spec: ServedBase) -> int:
    return int((spec.residency.memory_gb or 0.0) * 1e9)


def _pinned(fleet: Fleet) -> int:
    return sum(
        _declared(spec) for spec in fleet.specs.values() if isinstance(spec, ServedBase) and spec.residency.pinned
    )
