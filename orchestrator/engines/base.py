"""The seam between Switchyard and where it runs: one machine (`local`), later a Ray cluster.

    engine = make_engine(config.engine)           # orchestrator/engines/registry.py
    server = await engine.launch("smollm2", command)
    ... server.endpoint ...
    await server.stop()

Nothing in gateway, pipeline or experts knows which engine runs.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from orchestrator.experts.base import ServerCommand
from orchestrator.types import Endpoint


class RunningServer(Protocol):
    """A launched server: its endpoint, its death, its memory, its sleep, its end."""

    endpoint: Endpoint
    exited: asyncio.Future[int]
    """Resolves with the exit code when the process is gone, for whatever reason."""

    def memory_bytes(self) -> int:
        """Resident memory of the server's whole process tree now, in bytes; 0 when it is gone."""
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
    """Launches the servers of experts that hold weights."""

    async def launch(self, name: str, command: ServerCommand) -> RunningServer:
        """Return once the server is ready. Raises `ExpertError(kind="not_loaded")` with the end of its output."""
        ...

    def memory_available_bytes(self) -> int:
        """Memory that could be used now without swapping, in bytes."""
        ...

    async def close(self) -> None:
        """Stop every server that was launched."""
        ...
