"""One expert on several nodes: where it is loaded, which replica serves, and what happens when a node is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.errors import ConfigError, NoCapacity
from orchestrator.scheduler.base import Lease, LeaseRequest, MemoryStatus, NodeMemory, Place
from orchestrator.scheduler.core import Core
from tests.support.places import ENDPOINT, OK, ask, happened, local, persona, remote


def on(node: str, place: Place) -> Place:
    return replace(place, node=node)


def cluster(*places: Place, budget: int = 100) -> Core:
    nodes = {place.node: NodeMemory(budget) for place in places if place.node}
    return Core(places, 0, 0.0, nodes=nodes, uniform=lambda: 0.5)


def request(name: str, request_id: str, *, node: str = "", mu: float = 0.0) -> LeaseRequest:
    return replace(ask(name, request_id=request_id, mu=mu), node=node)


def ready(core: Core, name: str, node: str, now: float = 0.0) -> None:
    host = core.expert(name, node).host
    core.loaded(host, host.generation, ENDPOINT, host.memory_bytes, now)


def warm(core: Core, name: str, *nodes: str) -> None:
    for node in nodes:
        assert core.adopt(name, node, ENDPOINT, 0, 0.0) is not None


def test_a_burst_for_a_cold_expert_loads_it_on_one_node():
    core = cluster(*(on(node, local("a", 60, concurrency=4)) for node in ("n1", "n2", "n3")))
    for i in range(4):
        core.acquire(request("a", f"r{i}"), 0.0)
    assert happened(core) == ["load a"]


def test_an_expert_whose_queue_is_longer_than_a_load_is_loaded_on_a_second_node():
    core = cluster(*(on(node, local("a", 60)) for node in ("n1", "n2")))
    warm(core, "a", "n1")
    for i in range(20):
        core.acquire(request("a", f"r{i}"), 0.0)
    assert happened(core) == ["load a"]
    assert core.expert("a", "n2").host.state == "loading"


def test_loads_of_different_experts_spread_over_nodes():
    core = cluster(*(on(node, local(name, 60)) for name in "ab" for node in ("n1", "n2")))
    core.acquire(request("a", "r1"), 0.0)
    core.acquire(request("b", "r2"), 0.0)
    assert happened(core) == ["load a", "load b"]
    assert {core.expert("a", "n1").host.state, core.expert("b", "n2").host.state} == {"loading"}


def test_of_replicas_alike_the_near_one_serves_and_else_the_one_with_less_to_do():
    core = cluster(*(on(node, local("a", 60, concurrency=4)) for node in ("n1", "n2")))
    warm(core, "a", "n1", "n2")
    nodes = [core.acquire(request("a", f"r{i}", node=node), 0.0).node for i, node in enumerate(("n2", "n2", "", ""))]
    assert nodes == ["n2", "n2", "n1", "n1"]


def test_who_waits_for_one_replica_is_served_by_another_that_is_free_first():
    core = cluster(*(on(node, local("a", 60)) for node in ("n1", "n2")))
    warm(core, "a", "n1", "n2")
    leases = [core.acquire(request("a", f"r{i}"), 0.0) for i in range(2)]
    core.acquire(request("a", "waits"), 0.0)
    (bound,) = [e for e in core.replicas("a") if e.queue]
    other = next(lease for lease in leases if lease.node != bound.place.node)
    core.release(other, OK, 1.0)
    assert happened(core) == ["grant waits a"]


def test_the_rate_is_the_experts_whichever_replica_serves():
    core = cluster(*(on(node, local("a", 60, concurrency=4, rpm=2)) for node in ("n1", "n2")))
    warm(core, "a", "n1", "n2")
    for i, node in enumerate(("n1", "n2")):
        assert isinstance(core.acquire(request("a", f"r{i}", node=node), 0.0), Lease)
    assert not isinstance(core.acquire(request("a", "third"), 0.0), Lease)


def test_a_load_that_fails_on_one_node_is_tried_on_another():
    core = cluster(*(on(node, local("a", 60)) for node in ("n1", "n2")))
    core.acquire(request("a", "r"), 0.0)
    first = core.expert("a", "n1").host
    core.load_failed(first, first.generation, "broken", 1.0)
    assert happened(core) == ["load a", "load a"]
    second = core.expert("a", "n2").host
    core.load_failed(second, second.generation, "broken", 2.0)
    assert happened(core) == ["refuse r ExpertError"]


def test_memory_is_each_nodes_own():
    core = cluster(on("n1", local("a", 60)), on("n2", local("b", 60)))
    for name in "ab":
        core.acquire(request(name, name), 0.0)
    assert happened(core) == ["load a", "load b"]
    each = MemoryStatus(100, 60, 0, 0)
    assert core.memory == MemoryStatus(200, 120, 0, 0, {"n1": each, "n2": each})
    assert [(status.expert, status.node) for status in core.status(0.0)] == [("a", "n1"), ("b", "n2")]


def test_who_waits_for_a_lost_node_moves_to_another():
    core = cluster(*(on(node, local("a", 60)) for node in ("n1", "n2")))
    core.acquire(request("a", "r"), 0.0)
    assert happened(core) == ["load a"]
    core.lost("n1", "it does not answer", 1.0)
    assert happened(core) == ["load a"]
    ready(core, "a", "n2", 2.0)
    assert happened(core) == ["grant r a"]
    assert core.status(2.0)[0].last_error == "it does not answer"


def test_who_can_go_nowhere_else_hears_that_the_node_is_lost():
    core = cluster(on("n1", local("a", 60)))
    core.acquire(request("a", "r"), 0.0)
    core.lost("n1", "it does not answer", 1.0)
    assert happened(core) == ["load a", "refuse r NoCapacity"]
    with pytest.raises(NoCapacity, match="lost"):
        core.acquire(request("a", "later"), 1.0)
    core.found("n1", 2.0)
    core.acquire(request("a", "again"), 2.0)
    assert happened(core) == ["load a"]


def test_what_is_heard_of_a_lost_node_later_changes_nothing():
    core = cluster(on("n1", local("a", 60)))
    warm(core, "a", "n1")
    lease = core.acquire(request("a", "r"), 0.0)
    host = core.expert("a", "n1").host
    core.lost("n1", "it does not answer", 1.0)
    core.found("n1", 2.0)
    core.acquire(request("a", "again"), 2.0)
    core.stopped(host, 3.0)
    core.died(host, "gone", 3.0)
    core.release(lease, OK, 3.0)
    assert happened(core) == ["load a"]
    assert core.expert("a", "n1").host.state == "loading"


def test_a_server_that_runs_already_is_adopted_where_there_is_room_and_use():
    core = cluster(on("n1", local("a", 60)), on("n1", local("b", 60)))
    assert core.adopt("a", "n1", ENDPOINT, 70, 0.0) is not None
    assert isinstance(core.acquire(request("a", "r"), 0.0), Lease)
    assert happened(core) == []
    assert core.memory.nodes["n1"].used_bytes == 70
    assert core.adopt("a", "n1", ENDPOINT, 70, 0.0) is None
    assert core.adopt("stranger", "n1", ENDPOINT, 70, 0.0) is None


def test_a_server_with_a_restored_lease_is_not_evicted():
    core = cluster(on("n1", local("a", 60)), on("n1", local("b", 60)))
    warm(core, "a", "n1")
    old = Lease("old/7", "a", ENDPOINT, 0.0, node="n1")
    assert core.restore(old, 0.0)
    assert not core.restore(old, 0.0)
    assert not core.restore(Lease("old/8", "b", ENDPOINT, 0.0, node="n1"), 0.0)
    core.acquire(request("b", "r"), 0.0)
    core.tick(1000.0)
    assert happened(core) == []
    core.release(old, OK, 1000.0)
    assert happened(core) == ["stop a"]


def test_unloading_drains_every_replica():
    core = cluster(*(on(node, local("a", 60)) for node in ("n1", "n2")))
    warm(core, "a", "n1", "n2")
    assert [host.node for host in core.unload("a", 0.0)] == ["n1", "n2"]
    assert happened(core) == ["stop a", "stop a"]


def test_nodes_come_with_another_fleet_and_take_over_who_waits():
    core = cluster(on("n1", local("a", 60)))
    warm(core, "a", "n1")
    for i in range(20):
        core.acquire(request("a", f"r{i}"), 0.0)
    nodes = {"n1": NodeMemory(100), "n2": NodeMemory(100)}
    core.reconfigure([on(node, local("a", 60)) for node in nodes], 0, frozenset(), 1.0, nodes=nodes)
    assert happened(core) == ["load a"]


def test_a_node_that_is_removed_finishes_what_it_has():
    core = cluster(*(on(node, local("a", 60)) for node in ("n1", "n2")))
    warm(core, "a", "n1", "n2")
    lease = core.acquire(request("a", "r", node="n2"), 0.0)
    core.reconfigure([on("n1", local("a", 60))], 0, frozenset(), 1.0, nodes={"n1": NodeMemory(100)})
    assert happened(core) == []
    core.release(lease, OK, 2.0)
    assert happened(core) == ["stop a"]


def test_a_persona_needs_its_base_on_its_node():
    with pytest.raises(ConfigError, match="needs the weights of 'base'"):
        cluster(on("n1", local("base", 60)), on("n2", persona("poet", "base")))


def test_a_place_needs_its_node():
    with pytest.raises(ConfigError, match="node 'n9'"):
        Core([on("n9", local("a", 60))], 0, 0.0, nodes={"n1": NodeMemory(100)})


def test_experts_without_weights_are_on_no_node():
    core = cluster(remote("api"), on("n1", local("a", 60)))
    core.lost("n1", "it does not answer", 0.0)
    assert isinstance(core.acquire(ask("a", "api"), 0.0), Lease)
