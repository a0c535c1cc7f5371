"""The scheduler of one `experts.yaml`: made, told of another version of the file, and its pinned experts loaded.

    scheduler = make_scheduler(config, base_dir, engine)
    await reconfigure(scheduler, newer, base_dir)
    pinned = Pinned(scheduler)
    pinned.warm(newer)                            # in the background

Not here: what a scheduler does (`orchestrator/scheduler/`).
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from orchestrator.config import Config, ServedBase
from orchestrator.engines.base import Engine
from orchestrator.fleet.memory import asleep_budget_bytes, budget_bytes
from orchestrator.fleet.snapshot import make_places
from orchestrator.scheduler.base import Scheduler
from orchestrator.scheduler.driver import LocalScheduler
from orchestrator.scheduler.rules import Rules, SwitchyardRules

logger = logging.getLogger(__name__)


def make_scheduler(config: Config, base_dir: Path, engine: Engine, *, rules: Rules | None = None) -> LocalScheduler:
    """rules: if not the default. Raises `ConfigError`."""
    return LocalScheduler(
        make_places(config, base_dir),
        {"": engine},
        budget_bytes=budget_bytes(config),
        rules=rules or SwitchyardRules(prefetches=config.memory.prefetch),
        asleep_budget_bytes=asleep_budget_bytes(config),
    )


async def reconfigure(scheduler: Scheduler, config: Config, base_dir: Path) -> None:
    """Have it take over another version of the file. Raises `ConfigError`, and then nothing has changed."""
    await scheduler.reconfigure(make_places(config, base_dir), budget_bytes(config), asleep_budget_bytes(config))


class Pinned:
    """The experts that are in memory before anybody asks for them."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._warming: asyncio.Task[None] | None = None

    def warm(self, config: Config) -> None:
        """Have them loaded, in the background. What fails is logged, and tried again when a request comes."""
        self.stop()
        pinned = [spec.name for spec in config.experts if isinstance(spec, ServedBase) and spec.residency.pinned]
        self._warming = asyncio.create_task(self._warm(pinned), name="warm-pinned")

    def warm_again(self, config: Config) -> None:
        """Those of a newer version of the file, if pinned ones are loaded ahead at all."""
        if self._warming is not None:
            self.warm(config)

    def stop(self) -> None:
        """Wait for them no longer; those that are being loaded go on."""
        if self._warming is not None:
            self._warming.cancel()

    async def _warm(self, experts: list[str]) -> None:
        ends = await asyncio.gather(*map(self._scheduler.warm, experts), return_exceptions=True)
        for expert, end in zip(experts, ends, strict=True):
            if isinstance(end, Exception):
                logger.error("the pinned %s could not be loaded: %s", expert, end)
