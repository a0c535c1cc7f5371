"""What was asked of each expert with weights, as the ledger has it, for commands that plan by it.

    demands, together = measured(Path("experts.yaml"), hours=6.0)

Not here: how it is counted (`orchestrator/scheduler/placement/measuring.py`).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError, DataError

if TYPE_CHECKING:
    from orchestrator.config import Config
    from orchestrator.scheduler.placement.base import Demand, Together
    from orchestrator.scheduler.placement.measuring import Home, Traffic


def measured(
    path: Path, hours: float, sizes: Mapping[str, int] | None = None
) -> tuple[tuple[Demand, ...], tuple[Together, ...]]:
    """Demands and pairs of the last so many hours, or of all time that the ledger knows, if that is less.

    sizes: in bytes, of experts that declare none. Raises `ConfigError` where one is missing, `DataError` when nothing was asked.
    """
    from orchestrator.fleet.configfile import read_config
    from orchestrator.scheduler.placement.measuring import Traffic

    config, now = read_config(path), time.time()
    traffic, since = Traffic(_homes(config, sizes or {})), now - hours * 3600
    first, count = asyncio.run(_count(config, path.parent, traffic, since))
    if not count:
        raise DataError(f"the ledger has no decisions of the last {hours:g} hours")
    seconds = max(now - max(first, since), 1.0)
    return traffic.demands(seconds), traffic.together(seconds)


async def _count(config: Config, base_dir: Path, traffic: Traffic, since: float) -> tuple[float, int]:
    """The Unix time of the ledger's first decision (infinity when there is none), and how many there are since then."""
    from orchestrator.service import make_ledger

    first, count, ledger = math.inf, 0, make_ledger(config, base_dir)
    await ledger.open()
    try:
        async for decision in ledger.decisions():
            first = decision.created_at
            break
        async for decision in ledger.decisions(since=since):
            count += 1
            traffic.add(decision)
    finally:
        await ledger.close()
    return first, count


def _homes(config: Config, sizes: Mapping[str, int]) -> dict[str, Home]:
    """Of the experts with weights here, and of those that stand on one."""
    from orchestrator.config.base import ServedBase
    from orchestrator.scheduler.placement.measuring import Home

    homes = {}
    for spec in config.experts:
        host = config.by_name[spec.host]
        if not isinstance(host, ServedBase):
            continue
        declared = host.residency.memory_gb
        size = sizes.get(host.name) if declared is None else round(declared * 1e9)
        if size is None:
            raise ConfigError(f"'{host.name}' declares no memory: expected residency.memory_gb in experts.yaml")
        homes[spec.name] = Home(host.name, size, host.limits.concurrency)
    return homes
