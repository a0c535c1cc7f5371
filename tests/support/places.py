"""Short ways to talk to the scheduler's core in tests.

core = Core([remote("gpt", rpm=60), local("llama", 100), persona("poet", "llama")], 100, 0.0)
core.acquire(ask("llama"), 0.0)
happened(core)                      # ["load llama"]
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.engines.base import Launchable
from orchestrator.experts.base import ServerCommand
from orchestrator.scheduler.actions import Action, Grant, Load, Refuse, Sleep, Stop, Wake
from orchestrator.scheduler.base import LeaseOutcome, LeaseRequest, NodeMemory, Place
from orchestrator.scheduler.core import Core
from orchestrator.types import Endpoint
from routers.policy import Choice
from tests.support.launching import Fixed

ENDPOINT = Endpoint("http://127.0.0.1:1/v1", token="t")

OK = LeaseOutcome(ok=True, duration_s=1.0, first_byte_s=0.1)
FAILED = LeaseOutcome(ok=False, duration_s=0.1)
LEFT = LeaseOutcome(ok=None, duration_s=0.0)


def remote(name: str, *, concurrency: int | None = None, rpm: int | None = None) -> Place:
    return Place(name, name, holds_weights=False, concurrency=concurrency, rpm=rpm)


def local(
    name: str,
    memory_bytes: int | None,
    *,
    concurrency: int | None = 1,
    rpm: int | None = None,
    pin: bool = False,
    keep_alive_s: float = 600.0,
    asleep_bytes: int | None = None,
    command: Launchable | None = None,
) -> Place:
    launch = command or Fixed(ServerCommand(argv=("serve", name)))
    return Place(name, name, True, memory_bytes, pin, keep_alive_s, concurrency, rpm, launch, asleep_bytes=asleep_bytes)


def persona(name: str, host: str, *, concurrency: int | None = None, rpm: int | None = None) -> Place:
    return Place(name, host, holds_weights=True, concurrency=concurrency, rpm=rpm)


def on(node: str, place: Place) -> Place:
    return replace(place, node=node)


def cluster(*places: Place, budget: int = 100) -> Core:
    """Of the nodes that these places are on."""
    nodes = {place.node: NodeMemory(budget) for place in places if place.node}
    return Core(places, 0, 0.0, nodes=nodes, uniform=lambda: 0.5)


def warm(core: Core, name: str, *nodes: str) -> None:
    """Its servers run there already."""
    for node in nodes:
        assert core.adopt(name, node, ENDPOINT, 0, 0.0) is not None


def ask(*names: str, mu: float = 0.0, deadline: float = 1e9, request_id: str = "r", step: float = 0.1) -> LeaseRequest:
    """A request for these experts, each worth `step` less than the one before."""
    choices = tuple(Choice(name, 1.0 - step * i) for i, name in enumerate(names))
    return LeaseRequest(request_id, choices, mu, deadline)


def become_ready(core: Core, name: str, now: float, *, memory_bytes: int | None = None) -> None:
    """The launch of this host, which the core has asked for, succeeds."""
    host = core.expert(name).host
    core.loaded(host, host.generation, ENDPOINT, host.memory_bytes if memory_bytes is None else memory_bytes, now)


def fall_asleep(core: Core, name: str, now: float, *, kept_bytes: int = 20) -> None:
    """The server of this host, which the core has sent to sleep, sleeps."""
    host = core.expert(name).host
    core.slept(host, host.generation, kept_bytes, now)


def fail_to_load(core: Core, name: str, now: float, *, detail: str = "") -> None:
    """The launch of this host, which the core has asked for, fails."""
    host = core.expert(name).host
    core.load_failed(host, host.generation, "broken", now, detail=detail)


def happened(core: Core) -> list[str]:
    """What the core wants done since it was last asked, in words: `load a`, `stop a`, `grant r a`, `refuse r NoCapacity`."""
    return [_in_words(action) for action in core.take_actions()]


def _in_words(action: Action) -> str:
    match action:
        case Load(host):
            return f"load {host.name}"
        case Sleep(host):
            return f"sleep {host.name}"
        case Wake(host):
            return f"wake {host.name}"
        case Stop(host):
            return f"stop {host.name}"
        case Grant(waiter, lease):
            return f"grant {waiter.request_id} {lease.expert}"
        case Refuse(waiter, error):
            return f"refuse {waiter.request_id} {type(error).__name__}"
