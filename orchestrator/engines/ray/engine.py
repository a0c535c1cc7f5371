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
import signal
import time
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    RayActorError,
    RayError,
    RayTaskError,
)
from ray.util import list_named_actors
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.engines.base import Launchable
from orchestrator.engines.ray.cluster import NAMESPACE, ClusterNode
from orchestrator.engines.ray.servers import (
    HEARD_S,
    PREFIX,
    NodeActor,
    ServerActor,
    ServerFailed,
    ServerState,
    actor_name,
    expert_of,
)
from orchestrator.errors import ExpertError
from orchestrator.experts.base import Resources

BEAT_S = 0.5
BEAT_TIMEOUT_S = 2.0
START_S, SILENCE_S = 20.0, 10.0
"""After this long without an answer, the first or another, a node counts as lost, whatever the head says."""
ADOPT_S = 5.0
NAME_S = 5.0
RETRY_S = 0.1
KILLED = 128 + signal.SIGKILL

log = logging.getLogger(__name__)


class RayServer:
    """An `orchestrator.engines.base.RunningServer` that an actor owns. launch, since, asleep: as of `ServerState`."""

    def __init__(self, expert: str, actor: Any, state: ServerState) -> None:
        self.endpoint = state.endpoint
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.launch = state.launch
        self.since = state.since
        self.asleep = state.asleep
        self._expert = expert
        self._actor = actor
        self._memory_bytes = state.memory_bytes
        self._stopping = False
        self._watcher = asyncio.create_task(self._watch())

    def memory_bytes(self) -> int:
        return 0 if self.exited.done() else self._memory_bytes

    async def sleep(self) -> None:
        self._memory_bytes = await _answer(self._expert, self._actor.sleep.remote(), self.exited)
        self.asleep = True

    async def wake(self) -> None:
        self._memory_bytes = await _answer(self._expert, self._actor.wake.remote(), self.exited)
        self.asleep = False

    async def stop(self) -> None:
        self._stopping = True
        if not self.exited.done():
            with suppress(ExpertError):  # it has ended already, or whoever held it is gone: the watcher knows
                await _answer(self._expert, self._actor.stop.remote(), self.exited)
        await asyncio.wait({self._watcher})

    def end(self) -> None:
        """Nothing is heard of its node; should that come back, the server is not to be there."""
        if not self.exited.done():
            self._watcher.cancel()
            self.exited.set_result(KILLED)
            ray.kill(self._actor)

    async def _watch(self) -> None:
        while not self.exited.done():
            try:
                code, output = await self._actor.exited.remote()
                if not self._stopping:
                    log.warning("the server of %s exited with code %d: %s", self._expert, code, output)
                self.exited.set_result(code)
                async with asyncio.timeout(2 * HEARD_S):
                    await self._actor.heard.remote()
            except TimeoutError:
                pass
            except ActorUnavailableError:  # the connection broke; the actor may still be there
                await asyncio.sleep(RETRY_S)
            except RayError:  # it is gone, or past its use
                if not self.exited.done():
                    log.warning("the process that held the server of %s is gone", self._expert)
                    self.exited.set_result(KILLED)
        ray.kill(self._actor)  # which gives its node's resources back


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
        self._speaker: Any = None
        self._beating: asyncio.Task[None] | None = None
        self._available_bytes = 0

    async def start(self) -> None:
        """Returns when the node has answered, or is lost."""
        options = {**self._on_node, "max_restarts": -1, "num_cpus": 0}
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
        """Place an actor on the node, and have it launch the server."""
        self._check(name, launch.resources)
        placing = asyncio.ensure_future(asyncio.to_thread(self._place, name, launch.resources))
        try:
            actor = await asyncio.shield(placing)
            await self._until_placed(name, actor, launch.resources)
            return self._add(name, actor, await _answer(name, actor.launch.remote(launch), self.lost))
        except ActorUnschedulableError as exc:
            placing.add_done_callback(_discard)
            self.lose()
            await asyncio.sleep(0)  # whoever watches over the node hears of it before whoever wants the server
            raise ExpertError(name, "not_loaded", "its node is gone") from exc
        except BaseException:  # a launch that failed, or was cancelled, leaves no actor, and so no process
            placing.add_done_callback(_discard)
            raise

    async def found(self) -> dict[str, RayServer]:
        """The servers that run here already, by expert: another scheduler's. What isn't ready is ended.

        To be asked before anything is launched.
        """
        names = [each["name"] for each in await asyncio.to_thread(list_named_actors, all_namespaces=True)]
        experts = filter(None, (expert_of(name, self.node.id) for name in names))
        servers = await asyncio.gather(*(self._adopt(expert) for expert in experts))
        return {expert: server for expert, server in servers if server is not None}

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
        await asyncio.gather(*(server.stop() for server in list(self._servers)))
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait({self._beating})
            ray.kill(self._speaker)

    @property
    def _on_node(self) -> dict[str, Any]:
        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(self.node.id, soft=False)}

    def _check(self, name: str, resources: Resources) -> None:
        """Raises `ExpertError` for what the node can never give; Ray would wait for it."""
        if self.lost.done():
            raise ExpertError(name, "not_loaded", "its node is gone")
        if not resources.within(self.node.resources):
            asked, has = _in_words(resources), _in_words(self.node.resources)
            raise ExpertError(name, "not_loaded", f"its server asks for {asked}; its node has {has}")

    def _place(self, name: str, resources: Resources) -> Any:
        """An actor of its own, which is kept when this process ends. Blocks. One that was left over is replaced."""
        options = {
            **self._on_node,
            "name": actor_name(name, self.node.id),
            "namespace": NAMESPACE,
            "lifetime": "detached",
            "num_cpus": resources.cpus,
            "num_gpus": resources.gpus,
            "memory": resources.memory_bytes,
        }
        give_up_at = time.monotonic() + NAME_S
        while True:
            try:
                return ray.remote(ServerActor).options(**options).remote(name, self._host)
            except ValueError:  # the name is taken, if only by one that is being killed
                if time.monotonic() > give_up_at:
                    raise
                with suppress(ValueError):
                    ray.kill(ray.get_actor(options["name"], NAMESPACE))
                time.sleep(RETRY_S)

    async def _until_placed(self, name: str, actor: Any, resources: Resources) -> None:
        try:
            async with asyncio.timeout(self._room_s):
                await _answer(name, actor.state.remote(), self.lost)
        except TimeoutError as exc:
            asked = _in_words(resources)
            reason = f"its node had no room for its server within {self._room_s:g} s, which asks for {asked}"
            raise ExpertError(name, "not_loaded", reason) from exc

    async def _adopt(self, expert: str) -> tuple[str, RayServer | None]:
        try:
            actor = await asyncio.to_thread(ray.get_actor, actor_name(expert, self.node.id), NAMESPACE)
        except ValueError:  # it has ended since
            return expert, None
        try:
            async with asyncio.timeout(ADOPT_S):
                state = await _answer(expert, actor.state.remote(), self.lost)
        except (ExpertError, TimeoutError):
            state = None
        if state is None:
            ray.kill(actor)
            return expert, None
        return expert, self._add(expert, actor, state)

    def _add(self, name: str, actor: Any, state: ServerState) -> RayServer:
        server = RayServer(name, actor, state)
        self._servers.add(server)
        server.exited.add_done_callback(lambda _: self._servers.discard(server))
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


def end_servers() -> None:
    """On every node, whoever launched them. Blocks."""
    for each in list_named_actors(all_namespaces=True):
        if each["namespace"] == NAMESPACE and each["name"].startswith(PREFIX):
            with suppress(ValueError):  # it has ended meanwhile
                ray.kill(ray.get_actor(each["name"], NAMESPACE))


async def _answer(expert: str, answer: Any, gone: asyncio.Future[Any]) -> Any:
    """What an actor answers, unless `gone` resolves before.

    Raises `ExpertError`, what a `Launchable` raises, and `ActorUnschedulableError` where the node was gone before the actor began.
    """
    asked = asyncio.ensure_future(answer)
    try:
        await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise ExpertError(expert, "not_loaded", "its server is gone")
        return asked.result()
    except RayTaskError as exc:
        if isinstance(exc.cause, ServerFailed):
            raise ExpertError(expert, "not_loaded", str(exc.cause)) from exc
        raise exc.cause from exc
    except RayActorError as exc:
        raise ExpertError(expert, "not_loaded", "the process that held its server is gone") from exc
    finally:
        asked.cancel()


def _discard(placing: asyncio.Future[Any]) -> None:
    if placing.exception() is None:
        ray.kill(placing.result())


def _in_words(resources: Resources) -> str:
    return f"{resources.cpus:g} CPUs, {resources.gpus:g} GPUs and {resources.memory_bytes / 1e9:.1f} GB of memory"
