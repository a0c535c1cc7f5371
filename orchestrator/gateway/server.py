"""Serving the app in the current event loop by uvicorn, and stopping without cutting anybody off.

    stop = stop_on_signals()
    await serve(create_app(context), context.lifecycle, bind("127.0.0.1", 8700), stop=stop)

When `stop` is set the gateway goes on listening, so that new requests get a clear 503 and load balancers see `/readyz` fail,
until the requests under way are over or `drain_s` has passed. Not here: choosing the loop (uvloop, by the command line).
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from orchestrator.errors import ConfigError
from orchestrator.gateway.coalescing import CoalescingProtocol
from orchestrator.gateway.lifecycle import Lifecycle

KEEP_ALIVE_S = 75
"""Longer than clients keep idle connections, so that none is closed in a client's face."""
BACKLOG = 2048


def stop_on_signals() -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; a second one does what it does by default."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def first() -> None:
        stop.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, first)
    return stop


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises `ConfigError` when the address can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as exc:
        reason = str(exc.strerror).partition(" (while attempting")[0]  # Python repeats the address there
        raise ConfigError(f"can't listen on {authority(host, port)}: {reason}") from exc


def authority(host: str, port: int) -> str:
    """Both as they stand in a URL: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def serve(
    app: ASGIApp, lifecycle: Lifecycle, listener: socket.socket, *, stop: asyncio.Event, drain_s: float = 30.0
) -> None:
    """Serve until `stop` is set, then let what is under way end, for at most `drain_s` seconds."""
    server = _Server(
        uvicorn.Config(
            app,
            loop="none",
            http=CoalescingProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
            backlog=BACKLOG,
        )
    )
    running = asyncio.ensure_future(server.serve(sockets=[listener]))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            await lifecycle.drain(drain_s)
    finally:
        stopping.cancel()
        server.should_exit = True
        await running


class _Server(uvicorn.Server):
    """uvicorn's own signal handlers would raise the signal again at the end, before the service has cleaned up."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
