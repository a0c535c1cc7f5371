"""The cluster's nodes as the scheduler has them: an engine for each, those that come or are lost, servers that run already.

    machines = Machines(address_of)
    scheduler = await machines.scheduler(config, base_dir)          # over all nodes, which are watched from then on
    await machines.reconfigure(newer)

Every expert with weights may live on every node that it fits on. A node that is lost stays in the plan only as long as there is no
other for one of its experts. Not here: one node's servers (`engine.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from orchestrator.config import Config
from orchestrator.engines.ray.cluster import ClusterNode, living_nodes, watch
from orchestrator.engines.ray.engine import RayEngine
from orchestrator.errors import ConfigError
from orchestrator.fleet.memory import DEFAULT_SHARE, asleep_budget_bytes
from orchestrator.fleet.snapshot import make_places
from orchestrator.fleet.spreading import spread
from orchestrator.scheduler.base import NodeMemory, Place
from orchestrator.scheduler.driver import LocalScheduler
from orchestrator.scheduler.rules import SwitchyardRules

HOLD_S = 5.0
"""How long servers that ran before the scheduler began are kept for those who have leases of them."""

logger = logging.getLogger(__name__)


class Machines:
    """address_of: where servers on a node listen."""

    def __init__(self, address_of: Callable[[ClusterNode], str]) -> None:
        self._address_of = address_of
        self._engines: dict[str, RayEngine] = {}
        self._lost: set[str] = set()
        self._config: Config
        self._base_dir: Path
        self._scheduler: LocalScheduler
        self._watching: asyncio.Task[None] | None = None
        self._losses: set[asyncio.Task[None]] = set()

    async def scheduler(self, config: Config, base_dir: Path) -> LocalScheduler:
        """Over the nodes that there are, and those that come. Raises `ConfigError`."""
        self._config, self._base_dir = config, base_dir
        await self._start(await asyncio.to_thread(living_nodes))
        places, nodes = self._plan(config)
        self._scheduler = LocalScheduler(
            places,
            self._engines,
            budget_bytes=0,
            nodes=nodes,
            rules=SwitchyardRules(prefetches=config.memory.prefetch),
        )
        for engine in self._engines.values():
            await self._take_over(engine)
        self._watching = asyncio.create_task(self._watch(), name="nodes")
        return self._scheduler

    async def reconfigure(self, config: Config) -> None:
        """Another version of the file. Raises `ConfigError`, and then nothing has changed."""
        places, nodes = self._plan(config)
        await self._scheduler.reconfigure(places, 0, nodes=nodes, engines=self._engines)
        for name in self._lost & nodes.keys():
            self._scheduler.lost(name, "its node is lost")
        self._config = config

    async def unwatch(self) -> None:
        """Let nodes come and go."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    async def close(self) -> None:
        """Stop every server."""
        await asyncio.gather(*(engine.close() for engine in self._engines.values()))
        for task in self._losses:
            task.cancel()

    async def _start(self, nodes: tuple[ClusterNode, ...]) -> None:
        engines = [RayEngine(node, host=self._address_of(node)) for node in nodes]
        for engine in engines:
            self._engines[engine.node.id] = engine
        await asyncio.gather(*(engine.start() for engine in engines))

    async def _follow(self, engine: RayEngine) -> None:
        """Have its loss known, however it is noticed."""
        await asyncio.shield(engine.lost)
        self._lost.add(engine.node.id)
        self._scheduler.lost(engine.node.id, f"its node at {engine.node.address} is lost")
        await engine.close()

    async def _watch(self) -> None:
        async for nodes in watch():
            living = {node.id for node in nodes}
            for name, engine in self._engines.items():
                if name not in living:
                    engine.lose()
            new = tuple(node for node in nodes if node.id not in self._engines)
            try:
                await self._take_in(new)
            except Exception:  # a node that can't be had must neither end the watch nor go unseen
                logger.exception("the nodes at %s can't be used", ", ".join(node.address for node in new))

    async def _take_in(self, nodes: tuple[ClusterNode, ...]) -> None:
        if not nodes:
            return
        await self._start(nodes)
        logger.info("there are new nodes: %s", ", ".join(node.address for node in nodes))
        await self.reconfigure(self._config)
        for node in nodes:
            await self._take_over(self._engines[node.id])

    async def _take_over(self, engine: RayEngine) -> None:
        """What runs there already goes on, where the file wants it as it is; the rest is stopped."""
        task = asyncio.create_task(self._follow(engine))
        self._losses.add(task)
        task.add_done_callback(self._losses.discard)
        name = engine.node.id
        for expert, server in (await engine.found()).items():
            if server.asleep or not self._scheduler.adopt(expert, name, server, server.launch, hold_s=HOLD_S):
                await server.stop()

    def _plan(self, config: Config) -> tuple[tuple[Place, ...], dict[str, NodeMemory]]:
        """The places, and the nodes that they are on. Raises `ConfigError`."""
        places = make_places(config, self._base_dir)
        memory = {name: _memory(config, engine.node) for name, engine in self._engines.items()}
        living = {name: each for name, each in memory.items() if name not in self._lost}
        try:
            return spread(places, living), living
        except ConfigError:
            if not self._lost:
                raise
            return spread(places, memory), memory


def _memory(config: Config, node: ClusterNode) -> NodeMemory:
    """The file says it of each node; else it is a share of what Ray may give away there."""
    budget_gb = config.memory.budget_gb
    budget = int(node.memory_bytes * DEFAULT_SHARE) if budget_gb is None else int(budget_gb * 1e9)
    return NodeMemory(budget, asleep_budget_bytes(config))
