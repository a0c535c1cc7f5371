"""Serves an ASGI app on a free port of 127.0.0.1 in the test's own loop; and a gateway made of fakes, to be served so.

async with served(create_app(make_context(FakePipeline()))) as url, httpx.AsyncClient(base_url=url) as client: ...
async with client_of(make_context()) as client: ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.types import ASGIApp

from orchestrator.config import Config
from orchestrator.gateway.app import create_app
from orchestrator.gateway.auth import KeyRing
from orchestrator.gateway.context import GatewayContext, Pipeline
from orchestrator.gateway.lifecycle import Lifecycle
from orchestrator.gateway.metrics import Metrics
from orchestrator.gateway.server import bind, serve
from tests.support.pipeline import FakeLedger, FakePipeline, FakeScheduler

HELLO: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
CONFIG: dict[str, Any] = {
    "version": 1,
    "experts": [
        {"name": "small", "backend": "echo", "capabilities": ["streaming"], "context": 2048, "description": "short"},
        {"name": "large", "backend": "echo", "capabilities": ["streaming", "tools", "vision"]},
        {"name": "embedder", "backend": "echo", "kind": "embedding"},
    ],
    "policies": {"cheap": {"lambda": 5, "experts": ["small"]}},
    "panels": {"council": {"experts": ["small", "large"]}},
}


def make_context(pipeline: Pipeline | None = None, keys: KeyRing | None = None, **overrides: Any) -> GatewayContext:
    """A gateway of fakes. `gateway` in the overrides is that section of experts.yaml."""
    scheduler = overrides.pop("scheduler", FakeScheduler())
    config = Config.model_validate(CONFIG | {"gateway": overrides.pop("gateway", {})})
    return GatewayContext(
        pipeline=pipeline or FakePipeline(),
        ledger=overrides.pop("ledger", FakeLedger()),
        scheduler=scheduler,
        keys=keys or KeyRing(),
        config=lambda: config,
        metrics=Metrics(scheduler.status, scheduler.memory, lost=lambda: 0, reload_failed=lambda: False),
        **overrides,
    )


@asynccontextmanager
async def served(app: ASGIApp, lifecycle: Lifecycle | None = None) -> AsyncIterator[str]:
    """Yields the base URL, `http://127.0.0.1:PORT`. Requests still under way at the end are interrupted."""
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    stop = asyncio.Event()
    serving = asyncio.ensure_future(serve(app, lifecycle or Lifecycle(), listener, stop=stop, drain_s=0.0))
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop.set()
        await serving


@asynccontextmanager
async def served_client(context: GatewayContext) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway behind a real socket: for what depends on time and on connections."""
    async with served(create_app(context), context.lifecycle) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


def client_of(context: GatewayContext) -> httpx.AsyncClient:
    """A client of a gateway in the same process, without a socket."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(context)), base_url="http://gateway")
