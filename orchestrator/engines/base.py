"""The seam between Switchyard and where it runs: one machine (`local`), or a node of a Ray cluster (`ray/`).

    engine = make_engine("local")                 # orchestrator/engines/registry.py
    server = await engine.launch("smollm2", launch)
    ... server.endpoint ...
    await server.stop()

Nothing in gateway, pipeline or experts knows which engine runs.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from orchestrator.experts.base import Resources, ServerCommand
from orchestrator.types import Endpoint


class Launchable(Protocol):
    """What can be launched (`orchestrator/fleet/launching.py`). Equal ones need no other server; it can be pickled."""

    @property
    def resources(self) -> Resources:
        """What it takes of its node."""
        ...

    def __call__(self) -> ServerCommand:
        """Its command, on the machine where this is called: blocks for a look at its disk. Raises `ConfigError`."""
        ...


class RunningServer(Protocol):
    """A launched server: its endpoint, its death, its memory, its sleep, its end."""

    endpoint: Endpoint
    exited: asyncio.Future[int]
    """Resolves with the exit code when the process is gone, for whatever reason."""

    def memory_bytes(self) -> int:
        """Resident memory of the server's whole process tree in bytes, no older than its last change; 0 when it is gone."""
        ...

    async def sleep(self) -> None:
        """Give its memory back and stay alive. Raises `ExpertError(kind="not_loaded")`; what it is then is not known.

        For servers whose command says how they sleep.
        """
        ...

    async def wake(self) -> None:
        """Come back, and answer as before. Raises `ExpertError(kind="not_loaded")`, and then it is not fit for traffic."""
        ...

    async def stop(self) -> None:
        """Ask it to end, insist after 10 s, and return when its memory is back. May be called twice."""
        ...


class Engine(Protocol):
    """Launches the servers of experts that hold weights, on one machine."""

    async def launch(self, name: str, launch: Launchable) -> RunningServer:
        """Return once the server is ready.

        Raises `ExpertError(kind="not_loaded")` with the end of its output, and what `launch` raises.
        """
        ...

    def read_ahead(self, launch: Launchable) -> None:
        """Have the weights brought into the machine's file cache, in the background. Returns at once and never fails."""
        ...

    def memory_available_bytes(self) -> int:
        """Memory that could be used without swapping, in bytes, as it was at most a second ago."""
        ...

    async def close(self) -> None:
        """Stop every server that was launched."""
        ...
