"""The `local` engine: servers as child processes of this one. For Linux, whose `prctl` and `/proc` it needs.

    engine = LocalEngine()
    server = await engine.launch("smollm2", Launch(spec, base_dir))
    server.endpoint                               # Endpoint("http://127.0.0.1:40123/v1", token=...)
    await engine.close()

Not here: when to launch what (the scheduler), what is launched (the backends), and the process itself (`process.py`).
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import tempfile
from typing import Any

import aiohttp
import psutil

from orchestrator.engines.asking import Control
from orchestrator.engines.base import Launchable
from orchestrator.engines.filecache import ReadAhead
from orchestrator.engines.process import ServerProcess
from orchestrator.engines.sleeping import Sleeper
from orchestrator.errors import ExpertError
from orchestrator.experts.base import ServerCommand

PORT_ATTEMPTS = 3
FIRST_POLL_S, SLOWEST_POLL_S = 0.02, 0.5


class LocalEngine:
    """An `orchestrator.engines.base.Engine` for this machine.

    host: the address that servers listen at. stop_grace_s: what a server gets to end by itself. health_s: what
    one that starts gets to answer a health check, before it is asked again.
    """

    def __init__(self, *, host: str = "127.0.0.1", stop_grace_s: float = 10.0, health_s: float = 5.0) -> None:
        self._host = host
        self._stop_grace_s = stop_grace_s
        self._health_s = health_s
        self._read_ahead = ReadAhead()
        self._servers: dict[int, ServerProcess] = {}
        self._http: aiohttp.ClientSession | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    async def launch(self, name: str, launch: Launchable) -> ServerProcess:
        """Start the server and return once it is ready; on another port when somebody took the first one meanwhile."""
        command = await asyncio.to_thread(launch)
        for attempt in range(1, PORT_ATTEMPTS + 1):
            server = self._add(name, command)
            try:
                await server.start(self._private_folder())
                await self._until_ready(server)
                server.ready = True
                return server
            except ExpertError:
                await server.kill()
                if attempt == PORT_ATTEMPTS or _is_free(self._host, server.port):
                    raise
            except BaseException:  # a cancelled launch leaves no process either
                await server.kill()
                raise
        raise AssertionError("the last attempt returns or raises")

    def read_ahead(self, launch: Launchable) -> None:
        self._read_ahead.read(launch)

    def memory_available_bytes(self) -> int:
        available: int = psutil.virtual_memory().available
        return available

    async def close(self) -> None:
        """Stop every server at once."""
        self._read_ahead.close()
        await asyncio.gather(*(server.stop() for server in list(self._servers.values())))
        if self._http is not None:
            await self._http.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _add(self, name: str, command: ServerCommand) -> ServerProcess:
        port = _free_port(self._host)
        while port in self._servers:  # launched a moment ago, and not listening yet
            port = _free_port(self._host)
        token = secrets.token_urlsafe(24)
        server = self._servers[port] = ServerProcess(name, self._host, port, token, command, self._stop_grace_s)
        server.exited.add_done_callback(lambda _: self._servers.pop(port))
        return server

    def _private_folder(self) -> str:
        """Where servers run that don't say where: an empty folder of ours."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="switchyard-")
        return self._folder.name

    async def _until_ready(self, server: ServerProcess) -> None:
        ready = asyncio.create_task(self._poll(server))
        timeout_s = server.command.timeout_s
        try:
            either: set[asyncio.Future[Any]] = {ready, server.exited}
            await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if server.exited.done():
                raise _failed(server, f"its server exited with code {server.exited.result()} while starting")
            if not ready.done():
                said = f"its health check answered {server.health}"
                raise _failed(server, f"its server was not ready after {timeout_s:g} s ({said})")
            ready.result()
        finally:
            ready.cancel()

    async def _poll(self, server: ServerProcess) -> None:
        command, control = server.command, self._control(server)
        poll_s = FIRST_POLL_S
        while not (said := await control.ask(command.health, timeout_s=self._health_s)).ok:
            server.health = str(said)
            await asyncio.sleep(poll_s)
            poll_s = min(poll_s * 1.3, SLOWEST_POLL_S)
        if command.canary is not None and not (said := await control.ask(*command.canary)).ok:
            raise _failed(server, f"its server started, but answered {said} to a first request")
        if command.sleep is not None:
            server.sleeper = Sleeper(server.name, command.sleep, control, command.timeout_s)
            await server.sleeper.remember()

    def _control(self, server: ServerProcess) -> Control:
        if self._http is None:
            self._http = aiohttp.ClientSession()
        return Control(self._http, server.endpoint)


def _failed(server: ServerProcess, reason: str) -> ExpertError:
    output = server.last_output()
    return ExpertError(server.name, "not_loaded", f"{reason}; its last output: {output}" if output else reason)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
