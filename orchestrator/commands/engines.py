"""Where a command's experts run: in processes of this machine, or on a Ray cluster.

    def batch(engine: EngineOption = None): ...
    async with running_on(chosen_engine(engine, path), path) as service: ...

Not here: the engines (`orchestrator/engines/`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from orchestrator.service import Service

EngineOption = Annotated[
    str | None, typer.Option(help="local or ray. Default: ray if $RAY_ADDRESS is set, else what the YAML says.")
]
ENGINES = ("local", "ray")


def chosen_engine(asked: str | None, config_path: Path) -> str:
    """One of `ENGINES`. Raises `ConfigError`."""
    from orchestrator.errors import ConfigError
    from orchestrator.fleet.configfile import read_config

    chosen = asked or ("ray" if os.environ.get("RAY_ADDRESS") else read_config(config_path).engine)
    if chosen not in ENGINES:
        raise ConfigError(f"'{chosen}' is no engine; expected {' or '.join(ENGINES)}")
    return chosen


def running_on(engine: str, config_path: Path) -> AbstractAsyncContextManager[Service]:
    """Everything but the gateway. Entering it raises `ConfigError`, and `MissingExtra`."""
    if engine == "ray":
        from orchestrator.engines.ray.attached import running_on_cluster

        return running_on_cluster(config_path.absolute())
    from orchestrator.service import running

    return running(config_path, engine=engine)


@asynccontextmanager
async def own_gateway(engine: str, config_path: Path) -> AsyncIterator[str]:
    """The URL of a gateway for this process alone, on loopback. Raises what `running_on` does, and `ConfigError` for its keys."""
    from orchestrator.gateway.app import create_app
    from orchestrator.gateway.server import authority, bind, serve

    async with running_on(engine, config_path) as service:
        context = service.gateway_context()
        listener, stop = bind("127.0.0.1", 0), asyncio.Event()
        serving = asyncio.create_task(serve(create_app(context), context.lifecycle, listener, stop=stop))
        try:
            yield f"http://{authority(*listener.getsockname()[:2])}"
        finally:
            stop.set()
            await serving
