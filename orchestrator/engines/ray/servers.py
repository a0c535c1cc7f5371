"""What runs on the nodes: an actor for each server process, and one that speaks for its node.

    actor = ray.remote(ServerActor).options(...).remote("smollm2", node.address)
    state = await actor.launch.remote(launch)     # the command is made on the node
    code, output = await actor.exited.remote()    # when the process has ended
    await actor.heard.remote()                    # then nobody needs the actor any more

A server is launched, watched and ended by the `local` engine's own code, in the actor's process, and never outlives that. Not here:
where (`placing.py`), who asks (`running.py`), and when (the scheduler): actors restart nothing.
"""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Thread

import psutil

from orchestrator.engines.base import Launchable
from orchestrator.engines.filecache import ReadAhead
from orchestrator.engines.local import LocalEngine
from orchestrator.engines.process import ServerProcess
from orchestrator.errors import ExpertError
from orchestrator.types import Endpoint

HEARD_S = 0.2
"""For those who asked when the server ends to hear that it has; some may be gone."""


class ServerFailed(Exception):
    """What an `ExpertError` of a server says, as it travels. The expert is known to who asks."""


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server that is ready, or asleep. since: when it became ready, seconds of the epoch."""

    launch: Launchable
    endpoint: Endpoint
    since: float
    memory_bytes: int
    asleep: bool


class ServerActor:
    """Owns one server. host: the address that it listens at. Methods raise `ServerFailed`, and what `launch` raises."""

    def __init__(self, expert: str, host: str) -> None:
        end_with_node()
        _take_back_threads()
        self._expert = expert
        self._engine = LocalEngine(host=host)
        self._server: ServerProcess | None = None
        self._launch: Launchable | None = None
        self._since = 0.0
        self._asleep = False
        self._waiting = 0
        self._all_heard = asyncio.Event()

    async def launch(self, launch: Launchable) -> ServerState:
        with _travelling():
            self._server = await self._engine.launch(self._expert, launch)
        self._launch, self._since = launch, time.time()
        state = await self.state()
        assert state is not None, "it is ready"
        return state

    async def sleep(self) -> int:
        """Returns the memory that it keeps, in bytes."""
        with _travelling():
            await self._ready.sleep()
        self._asleep = True
        return self._ready.memory_bytes()

    async def wake(self) -> int:
        with _travelling():
            await self._ready.wake()
        self._asleep = False
        return self._ready.memory_bytes()

    async def exited(self) -> tuple[int, str]:
        """Answers when the server has ended: its exit code, and the end of its output. Who asks is to say that it has `heard`."""
        self._waiting += 1
        return await self._ready.exited, self._ready.last_output()

    async def heard(self) -> None:
        """Answers when everybody who asked has heard, so that this process may be ended."""
        self._waiting -= 1
        if not self._waiting:
            self._all_heard.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARD_S):
                await self._all_heard.wait()

    async def state(self) -> ServerState | None:
        """None when it is not ready yet, or has ended."""
        if self._server is None or self._launch is None or self._server.exited.done():
            return None
        server = self._server
        return ServerState(self._launch, server.endpoint, self._since, server.memory_bytes(), self._asleep)

    async def stop(self) -> int:
        """Ask the server to end, insist after 10 s; answers when its memory is back, with its exit code."""
        await self._engine.close()
        return await self._ready.exited

    @property
    def _ready(self) -> ServerProcess:
        assert self._server is not None, f"no server of {self._expert} was launched"
        return self._server


class NodeActor:
    """What must be known of a node that no server can tell."""

    def __init__(self) -> None:
        end_with_node()
        self._read_ahead = ReadAhead()

    async def memory_available_bytes(self) -> int:
        available: int = psutil.virtual_memory().available
        return available

    async def read_ahead(self, launch: Launchable) -> None:
        self._read_ahead.read(launch)


def end_with_node() -> None:
    """End this process when its node's `raylet` does; what hangs on this process follows by its lifeline.

    Ray's workers look for that themselves, but take a `raylet` that nobody has reaped for a living one.
    """
    Thread(target=_wait_for_end, args=(int(os.environ["RAY_RAYLET_PID"]),), name="raylet", daemon=True).start()


def _wait_for_end(pid: int) -> None:
    try:
        ended = select.poll()
        ended.register(os.pidfd_open(pid), select.POLLIN)
        ended.poll()
    except ProcessLookupError:
        pass
    os._exit(1)


def _take_back_threads() -> None:
    """Ray gives its workers one thread, for models too, unless whoever started the node said otherwise."""
    if "OMP_NUM_THREADS" not in psutil.Process().environ():  # as the process was started
        os.environ.pop("OMP_NUM_THREADS", None)


@contextmanager
def _travelling() -> Iterator[None]:
    try:
        yield
    except ExpertError as error:
        raise ServerFailed(error.message) from error
