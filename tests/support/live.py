"""A whole Switchyard on a free port, in a thread of its own, for clients that block: real sockets, scripted experts.

with live_gateway(tmp_path) as gateway:
    OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY).chat.completions.create(model="auto", ...)
    assert gateway.upstream.requests[0].body["messages"]

All experts but `hashed` are one scripted upstream (`tests/support/upstream.py`): say what it answers by `gateway.upstream`.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.gateway.app import create_app
from orchestrator.gateway.server import bind, serve
from orchestrator.service import running
from tests.support.upstream import Upstream, running_upstream

KEY = "sk-test-0123456789"
CAPABILITIES = ["streaming", "tools", "vision", "json_schema", "logprobs"]


@dataclass(frozen=True)
class Live:
    """url: without `/v1`. stop: from any thread."""

    url: str
    upstream: Upstream
    stop: Callable[[], object]


@contextmanager
def live_gateway(folder: Path) -> Iterator[Live]:
    started: Future[Live] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(folder, started)), daemon=True)
    thread.start()
    live = started.result(timeout=20)
    try:
        yield live
    finally:
        live.stop()
        thread.join(timeout=20)


async def _serve(folder: Path, started: Future[Live]) -> None:
    try:
        async with running_upstream() as upstream:
            (folder / "keys.txt").write_text(f"{KEY}\n")
            path = folder / "experts.yaml"
            path.write_text(json.dumps(_config(upstream.base_url)))  # JSON is YAML
            async with running(path) as service:
                context = service.gateway_context()
                listener = bind("127.0.0.1", 0)
                url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                stop, loop = asyncio.Event(), asyncio.get_running_loop()
                started.set_result(Live(url, upstream, lambda: loop.call_soon_threadsafe(stop.set)))
                await serve(create_app(context), context.lifecycle, listener, stop=stop, drain_s=1)
    except BaseException as exc:
        if started.done():
            raise
        started.set_exception(exc)


def _config(base_url: str) -> dict[str, Any]:
    def expert(name: str, **fields: Any) -> dict[str, Any]:
        return {"name": name, "backend": "openai", "base_url": base_url, "model": "upstream", **fields}

    return {
        "version": 1,
        "gateway": {"keys_file": "keys.txt"},
        "experts": [
            expert("large", capabilities=CAPABILITIES, context=128000),
            expert("small", capabilities=["streaming"], context=2048),
            expert("flaky", capabilities=CAPABILITIES),
            expert("limited", capabilities=CAPABILITIES, limits={"rpm": 1}),
            expert("vectors", kind="embedding"),
            {"name": "hashed", "backend": "echo", "kind": "embedding"},
        ],
        "routers": {"default": {"type": "fixed", "expert": "large"}},
        "policies": {"auto": {}},
    }
