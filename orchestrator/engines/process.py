"""One server as a child process: started, watched, measured, ended.

    server = ServerProcess("smollm2", "127.0.0.1", port, token, command, stop_grace_s=10.0)
    await server.start(folder)
    await server.stop()                           # returns when its memory is back

Each is a session of its own, so that Ctrl-C in a terminal reaches the gateway first, and is held by a `child.py` that leaves
nothing behind, however the gateway ends. Not here: whether it is ready (`local.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys

import psutil

from orchestrator.engines import child
from orchestrator.engines.sleeping import Sleeper
from orchestrator.errors import ExpertError
from orchestrator.experts.base import ServerCommand
from orchestrator.experts.failures import scrub
from orchestrator.types import Endpoint

OUTPUT_BYTES = 8192
SHOWN_LINES = 12
NOT_INHERITED = frozenset({"SWITCHYARD_API_KEYS", "SWITCHYARD_API_KEY", "PGPASSWORD", "REDIS_PASSWORD"})
"""The gateway's own and its clients' keys, and its databases'; the providers' come with the command."""
RAYS = "RAY_"
"""What Ray's variables begin with: its token, and whose worker this is. A server that wants Ray of its own asks for `{inherit}`."""
INHERIT = "{inherit}"
SHORTEST_SECRET = 6
"""Shorter values of `env` are shown in errors: they are numbers and switches."""

_TIMESTAMP = re.compile(r"^\d+(?:\.\d+){3}\s+", re.MULTILINE)
"""llama.cpp's, before each line: seconds since its start in groups, which look like an IP address."""
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

log = logging.getLogger(__name__)


class ServerProcess:
    """An `orchestrator.engines.base.RunningServer`.

    exited: resolves once every process of it is gone. ready: it serves, so that its end would be news. health: what its
    health check answered last, until it is ready. sleeper: what puts it to sleep, where it can.
    """

    def __init__(
        self, name: str, host: str, port: int, token: str, command: ServerCommand, stop_grace_s: float
    ) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.command = command
        self.stop_grace_s = stop_grace_s
        self.endpoint = Endpoint(f"http://{host}:{port}/v1", token)
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._output = bytearray()
        self._lifeline: int | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.ready = False
        self.health = "nothing"
        self.sleeper: Sleeper | None = None

    async def start(self, folder: str) -> None:
        """Start the process, in `folder` unless its command says otherwise."""
        theirs, self._lifeline = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", child.__file__, str(theirs)),
                *map(self._fill, self.command.argv),
                stdin=asyncio.subprocess.DEVNULL if self.command.stdin is None else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment(),
                cwd=self.command.cwd or folder,
                pass_fds=[theirs],
                start_new_session=True,
            )
        except OSError as exc:
            raise ExpertError(self.name, "not_loaded", f"its server can't be started: {exc.strerror}") from exc
        finally:
            os.close(theirs)
            if self._process is None:  # refused by the system, or cancelled: nothing runs
                self.exited.set_result(127)
        self._watcher = asyncio.create_task(self._watch(self._process))
        stdin = self._process.stdin
        if stdin is not None and self.command.stdin is not None and not stdin.is_closing():  # it may have ended already
            stdin.write(self.command.stdin.encode())
            stdin.close()

    def memory_bytes(self) -> int:
        """Resident memory of the server and its children, pages they share counted once; 0 when it is gone."""
        if self._process is None or self.exited.done():
            return 0
        infos = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    infos.append(process.memory_info())
        shared = [getattr(info, "shared", 0) for info in infos]
        return sum(info.rss for info in infos) - sum(shared) + max(shared, default=0)

    async def sleep(self) -> None:
        assert self.sleeper is not None, f"{self.name} can't sleep"
        await self.sleeper.fall_asleep()

    async def wake(self) -> None:
        assert self.sleeper is not None, f"{self.name} can't sleep"
        await self.sleeper.wake_up()

    async def stop(self) -> None:
        """SIGTERM, SIGKILL `stop_grace_s` later; returns when every process of it is gone. May be called twice."""
        self.ready = False
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            await asyncio.wait({self.exited}, timeout=self.stop_grace_s)
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL to every process of it; returns when they are gone."""
        self.ready = False
        self._close_lifeline()
        await asyncio.wait({self.exited})

    def last_output(self) -> str:
        """The end of what the server printed, fit to be shown to others."""
        text = _TIMESTAMP.sub("", _ANSI.sub("", self._output.decode("utf-8", "replace")))
        secrets = [self.endpoint.token, *(v for v in self._own_environment().values() if len(v) >= SHORTEST_SECRET)]
        return "\n".join([scrub(line, secrets) for line in text.splitlines() if line.strip()][-SHOWN_LINES:])

    def _fill(self, text: str) -> str:
        values = {
            "{host}": self.host,
            "{port}": str(self.port),
            "{token}": self.endpoint.token,
            "{python}": sys.executable,
        }
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
        return text

    def _environment(self) -> dict[str, str]:
        withheld = NOT_INHERITED | self.command.not_inherited
        inherited = {
            key: value for key, value in os.environ.items() if key not in withheld and not key.startswith(RAYS)
        }
        # SAFEPATH: a server must not import what happens to lie in the folder it runs in.
        own = {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
        return inherited | own | self._own_environment()

    def _own_environment(self) -> dict[str, str]:
        """What its command says, filled in."""
        asked = {key: os.environ.get(key) if value == INHERIT else value for key, value in self.command.env.items()}
        return {key: self._fill(value) for key, value in asked.items() if value is not None}

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while data := await process.stdout.read(65536):
            self._output += data
            del self._output[:-OUTPUT_BYTES]
        code = await process.wait()
        self._close_lifeline()
        if self.ready:
            log.warning("the server of %s exited with code %d: %s", self.name, code, self.last_output())
        self.exited.set_result(code)

    def _close_lifeline(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
