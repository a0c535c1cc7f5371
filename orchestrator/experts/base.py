"""What an expert is: something that answers a call. And what a backend is given to make one.

    expert = make_expert(spec, services)          # orchestrator/experts/registry.py
    answer = await expert.answer(call)

Experts that hold weights are servers with a lifecycle: their backend says how to launch them (`ServerCommand`), an engine
launches them (`orchestrator/engines/`), the scheduler decides when, and the call carries the endpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from orchestrator.config import ExpertBase
from orchestrator.types import Answer, Call
from routers.base import Encoder


class Expert(Protocol):
    """One narrow verb."""

    async def answer(self, call: Call) -> Answer:
        """Answer the call before its deadline.

        For a stream it returns once the first event with content (text, tool call, reasoning, refusal or finish reason) is
        in hand, so whatever fails before that is an exception here and another expert may take over. Cancelling the
        coroutine, or closing the answer, aborts the expert.

        Raises `ExpertRejected` when the request itself is wrong, and `ExpertError` for everything else that fails.
        """
        ...


Step = tuple[str, Mapping[str, Any]]
"""One request to a server of ours: the path, query included, and the JSON body to POST."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """How a server gives its memory up while its process stays alive, and how it comes back.

    fall and wake: what to POST, in this order, each to be answered with 200 before the next. sleeping: the path that says
    `{"is_sleeping": true}` while it sleeps. canary: a completion that the server is asked once it is launched and again after
    every wake, before traffic; another text than the first time means that it woke up wrong.
    """

    fall: tuple[Step, ...]
    wake: tuple[Step, ...]
    sleeping: str
    canary: Step


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """How to launch a server that speaks OpenAI's HTTP.

    argv and env may contain `{host}`, `{port}`, `{token}` and `{python}`, filled in at launch; secrets go into env or stdin, never
    argv. It must listen at that host and port, and nowhere else.
    stdin: text written to the process's standard input and then closed. health: the path that answers 200 once it is
    ready. canary: an optional request that must answer 200 before traffic. cwd: the folder it runs in, by
    default an empty one. sleep: None when it can't. files: the weights that it will read, files or folders, so that they can be
    brought into the system's file cache ahead of it. not_inherited: environment variables of the gateway's that are no business
    of the server's; it gets one only when `env` has it with the value `{inherit}`.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: str | None = None
    health: str = "/health"
    timeout_s: float = 300.0
    canary: Step | None = None
    cwd: Path | None = None
    sleep: Sleep | None = None
    files: tuple[Path, ...] = field(default=(), compare=False)
    not_inherited: frozenset[str] = field(default=frozenset(), compare=False)  # no reason to launch a server again


@dataclass(frozen=True, slots=True)
class Resources:
    """What one server takes of its node, where that is counted. gpus: a share of one, or a whole number."""

    cpus: float = 0.0
    gpus: float = 0.0
    memory_bytes: int = 0

    def within(self, others: Resources) -> bool:
        """Whether a node that has the others could ever give them."""
        return self.cpus <= others.cpus and self.gpus <= others.gpus and self.memory_bytes <= others.memory_bytes


@dataclass(frozen=True, slots=True)
class Site:
    """A machine as `launch` of a backend sees it. base_dir: the folder of `experts.yaml`.

    weights: the local path of a spec's weights; raises `ConfigError` naming `switchyard pull` when they are not there yet.
    """

    weights: Callable[[Any], Path]
    base_dir: Path


@dataclass(frozen=True, slots=True)
class Services:
    """What backends are given to make experts: one pooled HTTP session, the other experts by name, the folder of `experts.yaml`.

    encoders: what texts can be read with here.
    """

    http: aiohttp.ClientSession
    expert: Callable[[str], Expert]
    base_dir: Path
    encoders: tuple[Encoder, ...] = ()


class Backend(Protocol):
    """What a module of `orchestrator/experts/` exports to be a backend; `registry.py` lists them."""

    def make(self, spec: Any, services: Services) -> Expert:
        """Build the expert; raises `ConfigError` or `MissingExtra` when that can't be done. Loads no weights."""
        ...


class ServedBackend(Backend, Protocol):
    """A backend whose experts hold weights (`spec.holds_weights`): it says how to launch them, too."""

    def launch(self, spec: Any, site: Site) -> ServerCommand:
        """Called on the machine where the server is to run, of which nothing but the site is known."""
        ...


__all__ = [
    "Backend",
    "Expert",
    "ExpertBase",
    "Resources",
    "ServedBackend",
    "ServerCommand",
    "Services",
    "Site",
    "Sleep",
    "Step",
]
