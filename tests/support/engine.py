"""An engine without processes: launches and stops end when the test says so.

    engine = FakeEngine()
    launch = await engine.launched("a")           # the scheduler asked for it
    server = launch.succeed(memory_bytes=100)
    server.crash()

With `hold=False` launches and stops succeed at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestrator.engines.base import Launchable
from orchestrator.engines.filecache import ReadAhead
from orchestrator.experts.base import ServerCommand
from orchestrator.types import Endpoint


class FakeServer:
    """A `RunningServer`. `stopping` is set when somebody asked it to stop; held ones are gone after `finish()`.

    calls: `sleep` and `wake`, as they came, at which `called` is set. They end once `may_change` is set, as it is at first, with
    `change_error` if there is one. memory_error, stop_error: raised when its memory is measured, and when it is stopped.
    """

    def __init__(self, name: str, memory_bytes: int, hold: bool) -> None:
        self.endpoint = Endpoint(f"http://127.0.0.1:1/{name}/v1", token="t")
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.stopping = asyncio.Event()
        self.calls: list[str] = []
        self.called = asyncio.Event()
        self.may_change = asyncio.Event()
        self.may_change.set()
        self.change_error: Exception | None = None
        self.memory_error: Exception | None = None
        self.stop_error: Exception | None = None
        self._memory_bytes = memory_bytes
        self._finished = asyncio.Event()
        if not hold:
            self._finished.set()

    def memory_bytes(self) -> int:
        if self.memory_error is not None:
            raise self.memory_error
        return 0 if self.exited.done() else self._memory_bytes

    async def sleep(self) -> None:
        await self._change("sleep")

    async def wake(self) -> None:
        await self._change("wake")

    async def _change(self, name: str) -> None:
        self.calls.append(name)
        self.called.set()
        await self.may_change.wait()
        if self.change_error is not None:
            raise self.change_error

    async def stop(self) -> None:
        self.stopping.set()
        if self.stop_error is not None:
            raise self.stop_error
        await self._finished.wait()
        self._exit(0)

    def finish(self) -> None:
        self._finished.set()

    def crash(self, code: int = -11) -> None:
        self._exit(code)

    def _exit(self, code: int) -> None:
        if not self.exited.done():
            self.exited.set_result(code)


class Launch:
    """One call of `FakeEngine.launch`, open until it succeeds, fails or is cancelled."""

    def __init__(self, name: str, command: ServerCommand, hold: bool) -> None:
        self.name = name
        self.command = command
        self.result: asyncio.Future[FakeServer] = asyncio.get_running_loop().create_future()
        self._hold = hold

    def succeed(self, memory_bytes: int = 0) -> FakeServer:
        server = FakeServer(self.name, memory_bytes, self._hold)
        self.result.set_result(server)
        return server

    def fail(self, error: Exception) -> None:
        self.result.set_exception(error)


class FakeEngine:
    """An `Engine` whose launches wait for the test. `available_bytes` is asked for before each load."""

    def __init__(self, *, hold: bool = True, available_bytes: Callable[[], int] = lambda: 1 << 40) -> None:
        self.launches: list[Launch] = []
        self.hold = hold
        self._available_bytes = available_bytes
        self._changed = asyncio.Condition()
        self._read_ahead = ReadAhead()

    async def launch(self, name: str, launchable: Launchable) -> FakeServer:
        launch = Launch(name, launchable(), self.hold)
        self.launches.append(launch)
        async with self._changed:
            self._changed.notify_all()
        if not self.hold:
            launch.succeed()
        return await launch.result

    async def launched(self, name: str, times: int = 1) -> Launch:
        """The `times`th launch of this name, once there is one."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._count(name) >= times)
        return [launch for launch in self.launches if launch.name == name][times - 1]

    def _count(self, name: str) -> int:
        return sum(launch.name == name for launch in self.launches)

    def read_ahead(self, launchable: Launchable) -> None:
        self._read_ahead.read(launchable)

    def memory_available_bytes(self) -> int:
        return self._available_bytes()

    async def close(self) -> None:
        self._read_ahead.close()
