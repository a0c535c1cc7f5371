"""On how many nodes an expert is in memory at once: never on more than it may be, and always on those that it is pinned on."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.scheduler.base import Lease, NodeMemory, Place, Spread
from orchestrator.scheduler.core import Core
from tests.support.places import ENDPOINT, OK, ask, happened, local

NODES = ("n1", "n2", "n3")


def cluster(place: Place, *pinned: str, most: int | None = None) -> Core:
    place = replace(place, spread=Spread(len(pinned), most))
    places = [replace(place, node=node, pin=node in pinned) for node in NODES]
    return Core(places, 0, 0.0, nodes={node: NodeMemory(100) for node in NODES}, uniform=lambda: 0.5)


def asked(core: Core, count: int, now: float = 0.0) -> None:
    for i in range(count):
        core.acquire(ask("a", request_id=f"r{i}"), now)


def states(core: Core) -> list[str]:
    return [status.state for status in core.status(0.0)]


def ready(core: Core, node: str, now: float) -> None:
    host = core.expert("a", node).host
    core.loaded(host, host.generation, ENDPOINT, 60, now)


def test_however_long_the_queue_no_more_replicas_are_loaded_than_there_may_be():
    core = cluster(local("a", 60), most=2)
    core.adopt("a", "n1", ENDPOINT, 60, 0.0)
    asked(core, 100)
    assert states(core) == ["ready", "loading", "cold"]


def test_without_a_bound_the_queue_decides():
    core = cluster(local("a", 60))
    core.adopt("a", "n1", ENDPOINT, 60, 0.0)
    asked(core, 100)
    assert states(core) == ["ready", "loading", "loading"]


def test_a_replica_that_can_not_be_loaded_leaves_its_turn_to_another_node():
    core = cluster(local("a", 60), most=1)
    asked(core, 2)
    host = core.expert("a", "n1").host
    core.load_failed(host, host.generation, "broken", 1.0)
    assert states(core) == ["cold", "loading", "cold"]
    ready(core, "n2", 2.0)
    assert happened(core)[-1] == "grant r0 a"


def test_a_lost_node_leaves_its_turn_to_another():
    core = cluster(local("a", 60), most=1)
    asked(core, 1)
    core.lost("n1", "it does not answer", 1.0)
    assert states(core)[1:] == ["loading", "cold"]


def test_warming_loads_an_expert_on_every_node_that_it_is_pinned_on():
    core = cluster(local("a", 60), "n1", "n3")
    core.warm("a", 0.0)
    assert states(core) == ["loading", "cold", "loading"]
    assert happened(core) == ["load a", "load a"]


def test_a_pinned_replica_stays_and_another_goes_when_nobody_has_used_it_for_long():
    core = cluster(local("a", 60, keep_alive_s=5.0), "n1")
    core.warm("a", 0.0)
    ready(core, "n1", 1.0)
    core.adopt("a", "n2", ENDPOINT, 60, 1.0)
    leases = [core.acquire(ask("a", request_id=f"r{i}"), 1.0) for i in range(2)]
    for lease in leases:
        assert isinstance(lease, Lease)
        core.release(lease, OK, 2.0)
    core.tick(10.0)
    assert happened(core)[-1] == "stop a"
    assert states(core) == ["ready", "draining", "cold"]


def test_warming_what_is_pinned_nowhere_loads_nothing_by_itself():
    core = cluster(local("a", 60))
    core.warm("a", 0.0)
    assert states(core) == ["cold"] * 3
