"""The cluster's nodes as the scheduler has them: an engine for each, those that come or are lost, servers that run already.

    machines = Machines(address_of, moved)
    scheduler = await machines.scheduler(config, base_dir)          # over all nodes, which are watched from then on
    await machines.reconfigure(newer)

A node is known by its address, which it may have again after it was lost; of several at one address, one is used. Every expert
with weights may live on every node that it fits on; one that fits on none waits for such a node to come. Not here: one node's
servers (`engine.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.config import Config
from orchestrator.engines.ray.cluster import ClusterNode, living_nodes
from orchestrator.engines.ray.engine import RayEngine, end_servers, in_words
from orchestrator.engines.ray.running import RayServer
from orchestrator.fleet.memory import asleep_budget_bytes, budget_bytes
from orchestrator.fleet.snapshot import make_places
from orchestrator.fleet.spreading import NOWHERE, Room, spread
from orchestrator.scheduler.base import NodeMemory, Place
from orchestrator.scheduler.driver import LocalScheduler
from orchestrator.scheduler.rules import SwitchyardRules

HOLD_S = 5.0
"""How long servers that ran before the scheduler began are kept for those who have leases of them."""
LOOK_S = 0.5
AWAY_S = 5.0
"""Before the head is asked again when it could not be."""

logger = logging.getLogger(__name__)

Found = Mapping[str, RayServer]


class Machines:
    """address_of: where servers on a node listen. moved: called when the experts of a file have other nodes to live on."""

    def __init__(self, address_of: Callable[[ClusterNode], str], moved: Callable[[Config], None]) -> None:
        self._address_of = address_of
        self._moved = moved
        self._engines: dict[str, RayEngine] = {}
        self._unplanned = False
        self._nowhere: frozenset[str] = frozenset()
        self._planning = asyncio.Lock()
        self._config: Config
        self._base_dir: Path
        self._scheduler: LocalScheduler
        self._watching: asyncio.Task[None] | None = None
        self._joining: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def scheduler(self, config: Config, base_dir: Path) -> LocalScheduler:
        """Over the nodes that there are, and those that come. Raises `ConfigError`."""
        self._config, self._base_dir = config, base_dir
        rules = SwitchyardRules(prefetches=config.memory.prefetch)
        self._scheduler = LocalScheduler((), {}, budget_bytes=0, nodes={NOWHERE: NodeMemory(0)}, rules=rules)
        self._scheduler.lost(NOWHERE, "no node has room for it")
        await asyncio.to_thread(_end_what_is_lost)
        await self._take_in(await asyncio.to_thread(_nodes_for_experts))
        self._watching = asyncio.create_task(self._watch(), name="nodes")
        return self._scheduler

    async def reconfigure(self, config: Config) -> None:
        """Another version of the file. Raises `ConfigError`, and then nothing has changed."""
        await self._plan(config)

    async def unwatch(self) -> None:
        """Let nodes come and go."""
        tasks = {task for task in (self._watching, self._joining) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Stop every server."""
        await asyncio.gather(*(engine.close() for engine in self._engines.values()), *self._tasks)

    # Nodes that come and go

    async def _watch(self) -> None:
        while True:
            try:
                await self._look()
            except Exception:  # a head that is away, or a bug, must neither end the watch nor go unseen
                logger.exception("the cluster's nodes can't be looked after")
                await asyncio.sleep(AWAY_S)
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        living = await asyncio.to_thread(_nodes_for_experts)
        ids = {node.id for node in living}
        for engine in self._engines.values():
            if engine.node.id not in ids:
                engine.lose()
        await asyncio.sleep(0)  # which tells of those
        if self._unplanned:
            await self._plan(self._config)
        new = {node.address: node for node in living if node.address not in self._engines}
        if new and (self._joining is None or self._joining.done()):
            self._joining = asyncio.create_task(self._join(tuple(new.values())), name="new-nodes")

    async def _join(self, nodes: tuple[ClusterNode, ...]) -> None:
        try:
            await self._take_in(nodes)
        except Exception:  # it is tried again, and who looks after the others must not wait for that
            logger.exception("the nodes at %s can't be used", ", ".join(node.address for node in nodes))

    async def _take_in(self, nodes: tuple[ClusterNode, ...]) -> None:
        """Use the nodes that answer. What runs there already goes on, where the file wants it as it is; the rest is stopped."""
        engines = {node.address: RayEngine(node, host=self._address_of(node)) for node in nodes}
        used: dict[str, RayEngine] = {}
        try:
            await asyncio.gather(*(engine.start() for engine in engines.values()))
            there = {name: engine for name, engine in engines.items() if not engine.lost.done()}
            found = dict(zip(there, await asyncio.gather(*(e.found() for e in there.values())), strict=True))
            self._engines.update(there)
            await self._plan(self._config, found)
            used = there
        finally:
            for name in engines.keys() - used.keys():
                self._engines.pop(name, None)
                self._do(engines[name].close())
        for name, engine in used.items():
            self._scheduler.found(name)
            engine.lost.add_done_callback(partial(self._lost, name))  # before its servers' ends are heard of
            self._adopt(name, found[name])
        logger.info("nodes in use: %s", ", ".join(self._engines) or "none")

    def _adopt(self, node: str, servers: Found) -> None:
        for expert, server in servers.items():
            asleep = server.asleep
            if not self._scheduler.adopt(expert, node, server, server.launch, hold_s=HOLD_S, asleep=asleep):
                self._do(server.stop())

    def _lost(self, node: str, _: asyncio.Future[None]) -> None:
        self._scheduler.lost(node, "its node is lost")
        self._do(self._engines.pop(node).close())
        self._unplanned = True

    def _do(self, effect: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(effect)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Where experts may live

    async def _plan(self, config: Config, found: Mapping[str, Found] | None = None) -> None:
        """Spread the experts over the nodes that there are. found: what runs on those that are new. Raises `ConfigError`."""
        async with self._planning:
            places = make_places(config, self._base_dir)
            rooms = {name: _room(config, engine.node) for name, engine in self._engines.items()}
            places = spread(places, rooms, self._in_memory(found or {}))
            nodes = {name: room.memory for name, room in rooms.items()}
            nodes[NOWHERE] = NodeMemory(max((p.memory_bytes or 0 for p in places if p.node == NOWHERE), default=0))
            await self._scheduler.reconfigure(places, 0, nodes=nodes, engines=dict(self._engines))
            self._config = config
            self._unplanned = False
        self._tell_nowhere(places)
        self._moved(config)

    def _in_memory(self, found: Mapping[str, Found]) -> dict[str, set[str]]:
        """The nodes that experts are in memory on, or soon will be."""
        nodes: dict[str, set[str]] = {}
        for status in self._scheduler.status():
            if status.state in {"ready", "loading"}:
                nodes.setdefault(status.expert, set()).add(status.node)
        for node, servers in found.items():
            for expert in (expert for expert, server in servers.items() if not server.asleep):
                nodes.setdefault(expert, set()).add(node)
        return nodes

    def _tell_nowhere(self, places: tuple[Place, ...]) -> None:
        nowhere = {place.expert: place for place in places if place.node == NOWHERE}
        for name in sorted(nowhere.keys() - self._nowhere):
            asked = _asked_by(nowhere[name])
            logger.error("no node has room for %s%s: requests for it are refused until one comes", name, asked)
        self._nowhere = frozenset(nowhere)


def _nodes_for_experts() -> tuple[ClusterNode, ...]:
    """The living nodes but for those that were started with `--memory 0`, as a head had better be. Asks the head; blocks."""
    return tuple(node for node in living_nodes() if node.memory_bytes)


def _end_what_is_lost() -> None:
    """What still waits for nodes that went while there was no scheduler. Blocks."""
    end_servers(but_on={node.id for node in living_nodes()})


def _asked_by(place: Place) -> str:
    """Empty for a persona: what it asks for is its host's."""
    if place.command is None:
        return ""
    asked = replace(
        place.command.resources, memory_bytes=place.memory_bytes or 0
    )  # on a device, if that is where it lives
    return f", which asks for {in_words(asked)}"


def _room(config: Config, node: ClusterNode) -> Room:
    """What the file says of memory it says of each node; by default it is a share of what Ray may give away there."""
    total_bytes = node.memory_bytes
    memory = NodeMemory(budget_bytes(config, total_bytes), asleep_budget_bytes(config, total_bytes))
    return Room(memory, node.resources)
