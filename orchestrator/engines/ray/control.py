"""The cluster's one scheduler, as an actor of its own: gateways find it by its name, and then talk to it over TCP.

    actor = control_actor(settings)               # the one there is, or a new one
    token, address = await actor.token.remote(), await actor.address.remote()
    scheduler = RemoteScheduler(..., token, ...)

It keeps nothing on disk. One that Ray has restarted reads the file again, and its gateways, who ask for its address, start it.
Servers that ran before go on, if the file still wants them so, and gateways tell which leases they hold of them. Not here: what a
scheduler does (`orchestrator/scheduler/`), and the cluster's nodes (`machines.py`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._raylet import IMPLICIT_RESOURCE_PREFIX  # type: ignore[attr-defined]  # it is not Python
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.config import Config
from orchestrator.engines.ray.cluster import NAMESPACE, ClusterNode, living_nodes, own_node
from orchestrator.engines.ray.engine import end_servers
from orchestrator.engines.ray.machines import Machines
from orchestrator.errors import SwitchyardError
from orchestrator.fleet.configfile import read_config
from orchestrator.fleet.scheduling import Pinned
from orchestrator.fleet.watching import WatchedFile
from orchestrator.gateway.auth import is_loopback
from orchestrator.scheduler.remote.connection import Address
from orchestrator.scheduler.remote.server import SchedulerServer

NAME = "scheduler"
LOOPBACK = "127.0.0.1"
SILENT_S = 3.0
"""A gateway that has said nothing for so long is gone."""
LOOK_S = 0.1
UNUSED_S = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """config: `experts.yaml`, which lies at the same path on every node. host: the address that gateways listen at.

    lasting: until it is closed; else it ends by itself when nobody has been connected for `UNUSED_S`.
    """

    config: Path
    host: str
    lasting: bool = True

    def address_on(self, node: ClusterNode, own: ClusterNode) -> str:
        """Where what gateways connect to listens: where they are on this node alone, nobody else can."""
        return LOOPBACK if is_loopback(self.host) and node.address == own.address else node.address


@dataclass(frozen=True, slots=True)
class Report:
    """What a gateway has said. at: monotonic seconds. measured: for Prometheus."""

    at: float
    is_drained: bool
    measured: bytes


class ControlActor:
    """token: what gateways must know.

    Its constructor does nothing that could fail, because an actor whose constructor fails is never restarted.
    """

    def __init__(self, settings: Settings, token: str) -> None:
        self._settings = settings
        self._config = settings.config
        self._token = token
        self._stack = AsyncExitStack()
        self._starting: asyncio.Task[Address] | None = None
        self._machines: Machines
        self._pinned: Pinned | None = None
        self._server: SchedulerServer | None = None
        self._ending = False
        self._reloading = asyncio.Lock()
        self._gateways: dict[str, Report] = {}
        self._since = time.monotonic()

    async def token(self) -> str:
        return self._token

    async def config(self) -> Path:
        """Which file's experts it schedules."""
        return self._config

    async def address(self) -> Address:
        """Where gateways connect to; starts the scheduler if it isn't there yet. Raises `ConfigError`."""
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def report(self, gateway: str, *, is_drained: bool, measured: bytes) -> bool:
        """What gateways say several times a second. Returns whether they are to take no more requests."""
        self._gateways[gateway] = Report(time.monotonic(), is_drained, measured)
        return self._ending

    async def measured(self) -> dict[str, bytes]:
        """What each gateway has last reported that it has measured."""
        return {name: report.measured for name, report in self._present().items()}

    async def end(self) -> None:
        """Have gateways refuse new requests; returns when what was under way is over."""
        self._ending = True
        while self._serving():  # noqa: ASYNC110 (a gateway that is gone gives no event)
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        """Stop every server."""
        if self._starting is not None:
            await asyncio.wait({self._starting})
        await self._stack.aclose()
        await asyncio.to_thread(end_servers)  # of one before this, which has never been able to start

    async def leave(self, client: str) -> bool:
        """A client of the scheduler is through. Stops every server, unless somebody else needs them; returns whether it did."""
        clients = set() if self._server is None else self._server.clients
        if self._settings.lasting or clients - {client} or self._present():
            return False
        await self.close()
        return True

    def _serving(self) -> bool:
        """Whether a gateway that is there has requests under way, or has not heard yet that it is to end.

        One that was restarted just now has not heard of them all.
        """
        is_new = time.monotonic() - self._since < SILENT_S
        return is_new or any(not report.is_drained for report in self._present().values())

    def _present(self) -> dict[str, Report]:
        latest = time.monotonic() - SILENT_S
        self._gateways = {name: report for name, report in self._gateways.items() if report.at > latest}
        return self._gateways

    async def _start(self) -> Address:
        try:
            return await self._build()
        except BaseException:  # what was begun is undone, so that it can be begun again
            await self._stack.aclose()
            raise

    async def _build(self) -> Address:
        log_to_stderr()
        file = WatchedFile(self._config)
        config = await asyncio.to_thread(read_config, self._config)
        node = await asyncio.to_thread(own_node)
        machines = Machines(lambda other: self._settings.address_on(other, node), self._moved)
        self._stack.push_async_callback(machines.close)
        scheduler = await machines.scheduler(config, self._config.parent)
        self._stack.push_async_callback(scheduler.close)
        self._machines, self._pinned = machines, Pinned(scheduler)
        self._stack.push_async_callback(machines.unwatch)
        server = SchedulerServer(scheduler, self._token, reload=self._reload, restore=scheduler.restore)
        address = await server.start(self._settings.address_on(node, node))
        self._server = server
        self._stack.push_async_callback(server.close)
        self._pinned.warm(config)
        self._stack.callback(self._pinned.stop)
        watching = asyncio.create_task(file.watch(self._follow), name="config-watcher")
        self._stack.callback(watching.cancel)
        if not self._settings.lasting:
            self._leaving = asyncio.create_task(self._leave_unused(server), name="leave-unused")
        logger.info("schedules at %s:%d", *address)
        return address

    async def _leave_unused(self, server: SchedulerServer) -> None:
        """Who was to end this may have been killed."""
        used_at = time.monotonic()
        while time.monotonic() - used_at < UNUSED_S:
            if server.clients or self._present():
                used_at = time.monotonic()
            await asyncio.sleep(LOOK_S)
        logger.info("nobody has needed the scheduler for %g s", UNUSED_S)
        await self.close()
        ray.kill(ray.get_runtime_context().current_actor)

    async def _reload(self) -> None:
        """Read the file again. Raises `ConfigError`, and then nothing has changed."""
        async with self._reloading:  # what was read later counts
            await self._machines.reconfigure(await asyncio.to_thread(read_config, self._config))

    def _moved(self, config: Config) -> None:
        if self._pinned is not None:
            self._pinned.warm_again(config)

    async def _follow(self) -> None:
        try:
            await self._reload()
        except SwitchyardError as error:
            logger.error("the new %s is refused, the old one stays:\n%s", self._config.name, error.message)  # noqa: TRY400
        except Exception:  # a bug met by a new file must neither end the watch nor go unseen
            logger.exception("the new %s can't be used, the old one stays", self._config.name)


def control_actor(settings: Settings, token: str | None = None) -> Any:
    """The cluster's scheduler; where there is none one is made, with this token, on the node with the most memory if Ray will have
    it there. Blocks."""
    if (running := running_control_actor()) is not None:
        return running
    roomiest = max(living_nodes(), key=lambda node: node.memory_bytes)
    options = {
        "name": NAME,
        "namespace": NAMESPACE,
        "get_if_exists": True,
        "lifetime": "detached",
        "num_cpus": 0,
        "resources": {f"{IMPLICIT_RESOURCE_PREFIX}{NAME}": 0.001},  # Ray puts what asks for nothing anywhere
        "max_restarts": -1,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(roomiest.id, soft=True),
    }
    return ray.remote(ControlActor).options(**options).remote(settings, token or secrets.token_hex(32))


def running_control_actor() -> Any | None:
    """The cluster's scheduler, if there is one. Blocks."""
    try:
        return ray.get_actor(NAME, NAMESPACE)
    except ValueError:
        return None


def log_to_stderr() -> None:
    """What Switchyard says in an actor, whatever Ray does about logs; Ray keeps the file, one for each process."""
    ours = logging.getLogger("orchestrator")
    ours.handlers = [logging.StreamHandler(sys.__stderr__)]
    ours.handlers[0].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours.setLevel(logging.INFO)
    ours.propagate = False
