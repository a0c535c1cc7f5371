"""A server that an actor owns, as those who use it see it.

    server = RayServer(placed, await answer("smollm2", placed.actor.launch.remote(launch), lost))
    await server.stop()                           # in order; what it had of its node is given back
    server.end()                                  # without asking it

However it ends, its actor is ended with it, and the placement group that it ran in. Not here: where it runs (`placing.py`), and
when (the scheduler).
"""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any

from ray.exceptions import ActorPlacementGroupRemoved, ActorUnavailableError, RayActorError, RayError, RayTaskError

from orchestrator.engines.ray.placing import Placed
from orchestrator.engines.ray.servers import HEARD_S, ServerFailed, ServerState
from orchestrator.errors import ExpertError

RETRY_S = 0.1
STOP_S = 15.0
"""For a server to end in order, which insists after 10 s."""
KILLED = 128 + signal.SIGKILL

log = logging.getLogger(__name__)


class RayServer:
    """An `orchestrator.engines.base.RunningServer` that an actor owns. launch, since, asleep: as of `ServerState`.

    stop_s: how long a stop may take. given_back: done when nothing is left of it, which takes the head.
    """

    def __init__(self, placed: Placed, state: ServerState, *, stop_s: float = STOP_S) -> None:
        self.endpoint = state.endpoint
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.launch = state.launch
        self.since = state.since
        self.asleep = state.asleep
        self._placed = placed
        self._memory_bytes = state.memory_bytes
        self._stopping = False
        self._stop_s = stop_s
        self.given_back = asyncio.create_task(self._watch())

    def memory_bytes(self) -> int:
        return 0 if self.exited.done() else self._memory_bytes

    async def sleep(self) -> None:
        self._memory_bytes = await answer(self._placed.expert, self._placed.actor.sleep.remote(), self.exited)
        self.asleep = True

    async def wake(self) -> None:
        self._memory_bytes = await answer(self._placed.expert, self._placed.actor.wake.remote(), self.exited)
        self.asleep = False

    async def stop(self) -> None:
        """One that does not end in time, or whose actor does not answer, is ended without."""
        self._stopping = True
        try:
            async with asyncio.timeout(self._stop_s):
                while not (self.exited.done() or await self._has_stopped()):  # noqa: ASYNC110 (a connection gives no event)
                    await asyncio.sleep(RETRY_S)
                await asyncio.wait({self.exited})
        except TimeoutError:
            self.end()
        await asyncio.wait({self.given_back})

    def end(self) -> None:
        """Nothing is heard of its node; should that come back, the server is not to be there."""
        if not self.exited.done():
            self.exited.set_result(KILLED)

    async def _has_stopped(self) -> bool:
        """False when that can't be told: the connection broke, or whoever held it is gone, which its watcher will know."""
        try:
            await answer(self._placed.expert, self._placed.actor.stop.remote(), self.exited)
        except ExpertError:
            return False
        return True

    async def _watch(self) -> None:
        while not self.exited.done():
            try:
                code, output = await _before(self.exited, self._placed.actor.exited.remote())
                if not self._stopping:
                    log.warning("the server of %s exited with code %d: %s", self._placed.expert, code, output)
                if not self.exited.done():  # in this moment
                    self.exited.set_result(code)
                async with asyncio.timeout(2 * HEARD_S):
                    await self._placed.actor.heard.remote()
            except (TimeoutError, _Gone):
                pass
            except ActorUnavailableError:  # the connection broke; the actor may still be there
                await asyncio.sleep(RETRY_S)
            except RayError:  # it is gone, or past its use
                if not self.exited.done():
                    log.warning("the process that held the server of %s is gone", self._placed.expert)
                    self.exited.set_result(KILLED)
        await asyncio.to_thread(self._placed.end)


async def answer(expert: str, asked: Any, gone: asyncio.Future[Any]) -> Any:
    """What an actor answers, unless `gone` resolves before.

    Raises `ExpertError`, what a `Launchable` raises, and `ActorUnschedulableError` where the node was gone before the actor began.
    """
    try:
        return await _before(gone, asked)
    except _Gone as exc:
        raise ExpertError(expert, "not_loaded", "its server is gone") from exc
    except RayTaskError as exc:
        if isinstance(exc.cause, ServerFailed):
            raise ExpertError(expert, "not_loaded", str(exc.cause)) from exc
        raise exc.cause from exc
    except (RayActorError, ActorPlacementGroupRemoved) as exc:
        raise ExpertError(expert, "not_loaded", "the process that held its server is gone") from exc


class _Gone(Exception):
    """What was to answer."""


async def _before(gone: asyncio.Future[Any], asked: Any) -> Any:
    answering = asyncio.ensure_future(asked)
    try:
        await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise _Gone
        return answering.result()
    finally:
        answering.cancel()
