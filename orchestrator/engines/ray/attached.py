"""A process that asks the cluster's one scheduler for leases: a gateway, or a command that has much to ask.

    async with running_on_cluster(Path("/srv/experts.yaml")) as service:       # as `orchestrator.service.running`, on all nodes
        report = await answer_file(service, Path("in.jsonl"), Path("out.jsonl"))

Where a service runs on the cluster its scheduler is shared, and stays as it is. Else one is started, which whoever comes meanwhile
shares; it ends with the last of them, and every server with it. Not here: the scheduler's actor (`control.py`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

import ray
from ray.exceptions import RayError, RayTaskError

from orchestrator.config import Config
from orchestrator.engines.ray.cluster import ClusterNode, join, own_node
from orchestrator.engines.ray.control import LOOPBACK, Settings, control_actor, running_control_actor
from orchestrator.errors import ConfigError
from orchestrator.fleet.configfile import load_config
from orchestrator.fleet.snapshot import make_places
from orchestrator.scheduler.base import Scheduler
from orchestrator.scheduler.remote.client import RemoteScheduler
from orchestrator.scheduler.remote.connection import Address
from orchestrator.scheduler.remote.questions import unreachable
from orchestrator.service import Service, running_over

SCHEDULER_S = 60.0
"""How long is waited at the start for the scheduler, which may be starting, too."""
STOP_S = 20.0
"""For the end of servers, each of which has 10 s."""
EVERYWHERE = "0.0.0.0"

logger = logging.getLogger(__name__)


class Attachment:
    """One process's tie to the scheduler's actor. kind: what it is, for the log. node: the one that it is on.

    Where the scheduler doesn't answer, `of` and `require_fit` raise `NoCapacity`: its node may have been cut off.
    """

    def __init__(self, settings: Settings, token: str, kind: str, node: ClusterNode) -> None:
        self.name = f"{kind}-{secrets.token_hex(4)}"
        self._settings = settings
        self._token = token
        self.scheduler = RemoteScheduler(self._locate, token, self.name, node=node.address)

    @classmethod
    async def of(cls, settings: Settings, kind: str) -> Self:
        """To the scheduler that there is, or else a new one with these settings."""
        actor = await asyncio.to_thread(control_actor, settings)
        return cls(settings, await _told(actor.token.remote()), kind, await asyncio.to_thread(own_node))

    @asynccontextmanager
    async def scheduling(self, config: Config) -> AsyncIterator[Scheduler]:
        try:
            await self.scheduler.connected(SCHEDULER_S)
            yield self.scheduler
        finally:
            await self.scheduler.close()

    async def actor(self) -> Any:
        """As it is now: one that is gone is made anew."""
        return await asyncio.to_thread(control_actor, self._settings, self._token)

    async def require_fit(self) -> None:
        """Raises `ConfigError` when the scheduler schedules the experts of another file, or can't start."""
        actor = await self.actor()
        require_same(await _told(actor.config.remote()), self._settings.config)
        try:
            await _told(actor.address.remote())
        except ConfigError as exc:
            raise ConfigError(f"the scheduler can't start on its node: {exc}") from exc

    async def leave(self) -> None:
        """After `scheduling`: the scheduler ends if this process has started it and nobody else is there."""
        actor = await asyncio.to_thread(running_control_actor)
        if actor is None:
            return
        try:
            async with asyncio.timeout(STOP_S):
                if await actor.leave.remote(self.name):
                    ray.kill(actor)
        except (RayError, TimeoutError) as error:
            logger.warning("the scheduler could not be left in order: %s", type(error).__name__)

    async def _locate(self) -> Address:
        host, port = await (await self.actor()).address.remote()
        return Address(host, port)


def require_same(scheduled: Path, wanted: Path) -> None:
    """Raises `ConfigError` where the cluster's scheduler has another file's experts."""
    if scheduled != wanted:
        raise ConfigError(f"this cluster serves the experts of {scheduled}, not those of {wanted}")


async def _told(answer: Awaitable[Any]) -> Any:
    """What the scheduler's actor answers. Raises what it raises, and `NoCapacity` when it is gone or silent."""
    try:
        async with asyncio.timeout(SCHEDULER_S):
            return await answer
    except RayTaskError as exc:
        raise exc.cause from exc
    except (RayError, TimeoutError) as exc:
        raise unreachable() from exc


@asynccontextmanager
async def running_on_cluster(path: Path) -> AsyncIterator[Service]:
    """Everything but the gateway, with the experts of all nodes. path: absolute. SIGTERM cancels the task that is in it.

    Joins the cluster of the file or of `$RAY_ADDRESS`, else starts one, which blocks the loop for seconds. Raises `ConfigError`.
    """
    config = load_config(path)
    cluster = join(config.ray.address)
    with _cancelled_by_sigterm():
        try:
            settings = Settings(path, LOOPBACK if cluster.started_here else EVERYWHERE, lasting=False)
            async with _attached(settings) as attachment, running_over(path, attachment.scheduling) as service:
                await _require_experts(attachment.scheduler, config, path)
                yield service
        finally:
            cluster.leave()


@asynccontextmanager
async def _attached(settings: Settings) -> AsyncIterator[Attachment]:
    attachment = await Attachment.of(settings, "bulk")
    try:
        await attachment.require_fit()
        yield attachment
    finally:
        await attachment.leave()


async def _require_experts(scheduler: Scheduler, config: Config, path: Path) -> None:
    """Raises `ConfigError` where the scheduler's node has another file at the path."""
    wanted = {place.expert for place in make_places(config, path.parent)}
    if not wanted <= _scheduled(scheduler):
        await scheduler.reconfigure((), 0)  # it may be about to notice that the file was changed
    if missing := wanted - _scheduled(scheduler):
        raise ConfigError(f"{path}: the file at the scheduler's node has no expert '{min(missing)}'; expected the same")


def _scheduled(scheduler: Scheduler) -> set[str]:
    return {status.expert for status in scheduler.status()}


@contextmanager
def _cancelled_by_sigterm() -> Iterator[None]:
    """Ray's own handler would exit at once."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
