"""A whole Switchyard on a free port: real sockets, scripted experts.

async with serving(tmp_path) as gateway:          # in the test's own loop
    ... f"{gateway.url}/v1/messages" ...
with live_gateway(tmp_path) as gateway:           # in a thread, for clients that block
    OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY).chat.completions.create(model="auto", ...)
    assert gateway.upstream.requests[0].body["messages"]

All experts but `hashed` are one scripted upstream (`tests/support/upstream.py`): say what it answers by `gateway.upstream`.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.gateway.app import create_app
from orchestrator.service import running
from tests.support.gateway import served
from tests.support.upstream import Upstream, running_upstream

KEY = "sk-test-0123456789"
CAPABILITIES = ["streaming", "tools", "vision", "json_schema", "logprobs"]
T = TypeVar("T")


@dataclass(frozen=True)
class Live:
    """url: without `/v1`."""

    url: str
    upstream: Upstream


@asynccontextmanager
async def serving(folder: Path, *, hold_s: float = 2.0) -> AsyncIterator[Live]:
    """hold_s: after which a stream that waits is told so."""
    async with running_upstream() as upstream:
        (folder / "keys.txt").write_text(f"{KEY}\n")
        path = folder / "experts.yaml"
        path.write_text(json.dumps(_config(upstream.base_url)))  # JSON is YAML
        async with (
            running(path) as service,
            served(create_app(replace(service.gateway_context(), hold_s=hold_s))) as url,
        ):
            yield Live(url, upstream)


@contextmanager
def live_gateway(folder: Path) -> Iterator[Live]:
    with in_thread(serving(folder)) as live:
        yield live


@contextmanager
def in_thread(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """What `context` yields, while an event loop in a thread of its own keeps it going."""
    started: Future[tuple[T, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def run() -> None:
        async with context as value:
            stop = asyncio.Event()
            started.set_result((value, asyncio.get_running_loop(), stop))
            await stop.wait()

    def serve() -> None:
        try:
            asyncio.run(run())
        except Exception as exc:
            if started.done():
                raise
            started.set_exception(exc)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    value, loop, stop = started.result(timeout=30)
    try:
        yield value
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=30)


def _config(base_url: str) -> dict[str, Any]:
    def expert(name: str, **fields: Any) -> dict[str, Any]:
        return {"name": name, "backend": "openai", "base_url": base_url, "model": "upstream", **fields}

    return {
        "version": 1,
        "gateway": {"keys_file": "keys.txt", "request_timeout_s": 20},
        "experts": [
            expert("large", capabilities=CAPABILITIES, context=128000),
            expert("small", capabilities=["streaming"], context=2048),
            expert("flaky", capabilities=CAPABILITIES),
            expert("down", capabilities=CAPABILITIES),
            expert("limited", capabilities=CAPABILITIES, limits={"rpm": 1}),
            expert("vectors", kind="embedding"),
            {"name": "hashed", "backend": "echo", "kind": "embedding"},
        ],
        "routers": {"default": {"type": "fixed", "expert": "large"}},
        "policies": {"auto": {}},
    }
