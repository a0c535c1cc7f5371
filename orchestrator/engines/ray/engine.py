"""The `ray` engine: servers on one node of a cluster, each owned by an actor there.

    engine = RayEngine(node)                      # a ClusterNode, and whoever runs this is connected to its cluster
    await engine.start()
    server = await engine.launch("smollm2", Launch(spec, base_dir))
    for expert, server in (await engine.found()).items(): ...      # those that a scheduler before this one has left
    await engine.close()

Servers outlive whoever launched them, so that a scheduler that was restarted finds them again. A call to a node that is cut off
would hang, so each is given up as soon as the node is lost, which its silence tells. Not here: which node (the scheduler).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnschedulableError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.engines.base import Launchable
from orchestrator.engines.ray.cluster import ClusterNode
from orchestrator.engines.ray.placing import Placed, place, standing
from orchestrator.engines.ray.running import RayServer, answer
from orchestrator.engines.ray.servers import NodeActor, ServerState
from orchestrator.errors import ExpertError
from orchestrator.experts.base import Resources

BEAT_S = 0.5
BEAT_TIMEOUT_S = 2.0
START_S, SILENCE_S = 20.0, 10.0
"""After this long without an answer, the first or another, a node counts as lost, whatever the head says."""
ADOPT_S = 5.0

log = logging.getLogger(__name__)


class RayEngine:
    """An `orchestrator.engines.base.Engine` for one node of the cluster that this process is connected to.

    host: the address that servers listen at, by default the node's. room_s: how long a launch waits for resources that others
    are giving back, and for a process to start. lost: resolves when the node is, and all that ran there; nothing is launched then.
    """

    def __init__(self, node: ClusterNode, *, host: str | None = None, room_s: float = 60.0) -> None:
        self.node = node
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._host = host or node.address
        self._room_s = room_s
        self._servers: set[RayServer] = set()
        self._undoing: set[asyncio.Task[None]] = set()
        self._speaker: Any = None
        self._beating: asyncio.Task[None] | None = None
        self._available_bytes = 0

    async def start(self) -> None:
        """Returns when the node has answered, or is lost."""
        here = NodeAffinitySchedulingStrategy(self.node.id, soft=False)
        options = {"scheduling_strategy": here, "max_restarts": -1, "num_cpus": 0}
        self._speaker = await asyncio.to_thread(ray.remote(NodeActor).options(**options).remote)
        answered = asyncio.Event()
        self._beating = asyncio.create_task(self._beat(answered))
        waiting = asyncio.create_task(answered.wait())
        either: set[asyncio.Future[Any]] = {waiting, self.lost}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    async def launch(self, name: str, launch: Launchable) -> RayServer:
        """Place an actor on the node, and have it launch the server. Of a launch that failed or was cancelled nothing is left."""
        self._check(name, launch.resources)
        placing = asyncio.ensure_future(asyncio.to_thread(place, name, self.node.id, self._host, launch.resources))
        try:
            placed = await asyncio.shield(placing)
            await self._until_placed(name, placed, launch.resources)
            return self._add(placed, await answer(name, placed.actor.launch.remote(launch), self.lost))
        except ActorUnschedulableError as exc:
            self.lose()
            await self._undo(placing)  # so whoever watches over the node hears of it before whoever wants the server
            raise ExpertError(name, "not_loaded", "its node is gone") from exc
        except BaseException:
            await self._undo(placing)
            raise

    async def found(self) -> dict[str, RayServer]:
        """The servers that run here already, by expert: another scheduler's. What isn't ready is ended.

        To be asked before anything is launched.
        """
        there = await asyncio.to_thread(standing, lambda node_id: node_id == self.node.id)
        servers = await asyncio.gather(*map(self._adopt, there))
        return {placed.expert: server for placed, server in zip(there, servers, strict=True) if server is not None}

    def lose(self) -> None:
        """The node is gone: whoever watches the cluster may know it before its silence tells."""
        if not self.lost.done():
            log.warning("the node at %s is lost", self.node.address)
            self.lost.set_result(None)
            for server in list(self._servers):
                server.end()

    def read_ahead(self, launch: Launchable) -> None:
        if not self.lost.done():
            self._speaker.read_ahead.remote(launch)

    def memory_available_bytes(self) -> int:
        return self._available_bytes

    async def close(self) -> None:
        """Stop every server that was launched or found."""
        try:
            await asyncio.gather(*(server.stop() for server in list(self._servers)), *self._undoing)
        finally:
            if self._beating is not None:
                self._beating.cancel()
                await asyncio.wait({self._beating})
                ray.kill(self._speaker)

    def _check(self, name: str, resources: Resources) -> None:
        """Raises `ExpertError` for what the node can never give; Ray would wait for it."""
        if self.lost.done():
            raise ExpertError(name, "not_loaded", "its node is gone")
        if not resources.within(self.node.resources):
            asked, has = in_words(resources), in_words(self.node.resources)
            raise ExpertError(name, "not_loaded", f"its server asks for {asked}; its node has {has}")

    async def _until_placed(self, name: str, placed: Placed, resources: Resources) -> None:
        try:
            async with asyncio.timeout(self._room_s):
                await answer(name, placed.actor.state.remote(), self.lost)
        except TimeoutError as exc:
            asked = in_words(resources)
            reason = f"its node had no room for its server within {self._room_s:g} s, which asks for {asked}"
            raise ExpertError(name, "not_loaded", reason) from exc

    async def _undo(self, placing: asyncio.Future[Placed]) -> None:
        """Also when whoever waits for that is cancelled once more."""
        undoing = asyncio.create_task(_end(placing))
        self._undoing.add(undoing)
        undoing.add_done_callback(self._undoing.discard)
        await asyncio.shield(undoing)

    async def _adopt(self, placed: Placed) -> RayServer | None:
        state = None
        if placed.actor is not None:
            with suppress(ExpertError, TimeoutError, RayError):  # whatever it is, this one is not ready
                async with asyncio.timeout(ADOPT_S):
                    state = await answer(placed.expert, placed.actor.state.remote(), self.lost)
        if state is None:
            await asyncio.to_thread(placed.end)
            return None
        return self._add(placed, state)

    def _add(self, placed: Placed, state: ServerState) -> RayServer:
        server = RayServer(placed, state)
        self._servers.add(server)
        if self.lost.done():  # in this moment
            server.end()
        server.given_back.add_done_callback(lambda _: self._servers.discard(server))
        return server

    async def _beat(self, answered: asyncio.Event) -> None:
        """Ask the node for its free memory, again and again, and so learn that it is lost."""
        silent_s = 0.0  # as far as this process was awake to hear
        while not self.lost.done() and silent_s < (SILENCE_S if answered.is_set() else START_S):
            asked_at = time.monotonic()
            try:
                async with asyncio.timeout(BEAT_TIMEOUT_S):
                    self._available_bytes = await self._speaker.memory_available_bytes.remote()
                silent_s = 0.0
                answered.set()
            except (ActorDiedError, ActorUnschedulableError):  # it restarts for as long as its node lives
                break
            except (RayError, TimeoutError):
                silent_s += min(time.monotonic() - asked_at, BEAT_TIMEOUT_S) + BEAT_S
            await asyncio.sleep(BEAT_S)
        self.lose()


def end_servers(but_on: Collection[str] = ()) -> None:
    """On every node but those of these ids, whoever launched them. Blocks."""
    for placed in standing(lambda node_id: node_id not in but_on):
        placed.end()


def in_words(resources: Resources) -> str:
    return f"{resources.cpus:g} CPUs, {resources.gpus:g} GPUs and {resources.memory_bytes / 1e9:.1f} GB of memory"


async def _end(placing: asyncio.Future[Placed]) -> None:
    await asyncio.wait({placing})
    if placing.exception() is None:
        await asyncio.to_thread(placing.result().end)
