"""What the backends whose experts are servers share: asking one at the endpoint of its lease, and launching our own ones.

    expert = served_expert(spec, services)
    await expert.answer(call)                     # at call.endpoint

    python_server("orchestrator.experts.onnx_server", Settings(...), spec, site)          # a ServerCommand

Not here: when servers run (the scheduler), and where (the engine).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType

import msgspec
import psutil

from orchestrator.config import ServedBase
from orchestrator.errors import ExpertError, MissingExtra
from orchestrator.experts.base import ServerCommand, Services, Site
from orchestrator.experts.launched import HOST_VARIABLE, PORT_VARIABLE, TOKEN_VARIABLE
from orchestrator.experts.openai import CompatibleServer
from orchestrator.types import Answer, Call

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class ServedExpert:
    """An expert behind a server that was launched for it."""

    def __init__(self, name: str, server: CompatibleServer) -> None:
        self._name = name
        self._server = server

    async def answer(self, call: Call) -> Answer:
        if call.endpoint is None:
            raise ExpertError(self._name, "not_loaded", f"{self._name} is not in memory")
        return await self._server.answer(call, call.endpoint)


def served_expert(
    spec: ServedBase, services: Services, *, upstream_model: str | None = None, headers: Mapping[str, str] = NO_HEADERS
) -> ServedExpert:
    """upstream_model: what its server calls the model, by default the expert's name. headers: sent besides the token."""
    server = CompatibleServer(spec.name, services.http, spec.timeouts, spec.parameters, upstream_model, headers)
    return ServedExpert(spec.name, server)


def python_server(module: str, settings: msgspec.Struct, spec: ServedBase, site: Site) -> ServerCommand:
    """How to launch a server of ours: `python -m module`, which reads `settings` by `launched.read`."""
    return ServerCommand(
        argv=("{python}", "-m", module),
        env={HOST_VARIABLE: "{host}", PORT_VARIABLE: "{port}", TOKEN_VARIABLE: "{token}", **spec.env},
        stdin=msgspec.json.encode(settings).decode(),
        timeout_s=spec.timeouts.load_s,
        cwd=site.base_dir,
    )


def require(module: str, feature: str, extra: str) -> None:
    """Raises `MissingExtra` when an optional dependency isn't installed; imports nothing."""
    if find_spec(module) is None:
        raise MissingExtra(feature, extra)


def num_threads() -> int:
    """The physical cores this process may use, less one for the gateway.

    Threads of one model wait for each other by spinning: with a thread more than there are free cores, SmolLM2 answered
    three times slower here than with one less.
    """
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(usable, psutil.cpu_count(logical=False) or usable) - 1)
