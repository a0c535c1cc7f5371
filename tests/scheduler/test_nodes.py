"""One expert on several nodes: where it is loaded, which replica serves, and what happens when a node is lost."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from msgspec.structs import replace

from orchestrator.errors import ConfigError, NoCapacity
from orchestrator.scheduler.base import Lease, LeaseRequest, MemoryStatus, NodeMemory
from orchestrator.scheduler.core import Core
from tests.support.places import ENDPOINT, OK, ask, cluster, happened, local, on, persona, remote, warm


def request(name: str, request_id: str, *, node: str = "", mu: float = 0.0) -> LeaseRequest:
    return replace(ask(name, request_id=request_id, mu=mu), node=node)


def ready(core: Core, name: str, node: str, now: float = 0.0) -> None:
    host = core.expert(name, node).host
    core.loaded(host, host.generation, ENDPOINT, host.memory_bytes, now)


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


def test_a_request_that_has_failed_on_a_node_goes_to_another_where_there_is_one():
    core = cluster(*(on(node, local("a", 60, concurrency=4)) for node in ("n1", "n2")))
    warm(core, "a", "n1")
    again = replace(request("a", "r", node="n1"), tried=("n1",))
    core.acquire(again, 0.0)
    assert core.expert("a", "n2").host.state == "loading"
    ready(core, "a", "n2")
    assert happened(core)[-1] == "grant r a"
    alone = cluster(on("n1", local("a", 60)))
    warm(alone, "a", "n1")
    assert alone.acquire(again, 0.0).node == "n1"


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


def test_why_a_node_is_lost_is_told_of_those_that_are_placed_there_later():
    core = cluster(on("n1", local("a", 60)))
    core.lost("n1", "it does not answer", 1.0)
    core.reconfigure([on("n1", local("b", 60))], 0, frozenset(), 2.0)
    assert [(each.expert, each.last_error) for each in core.status(2.0)] == [("b", "it does not answer")]
    with pytest.raises(NoCapacity, match="lost"):
        core.acquire(request("b", "r"), 2.0)


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


def test_a_burst_longer_than_a_load_gets_more_replicas_and_no_more_than_that():
    core = cluster(*(on(f"n{i}", local("a", 60, concurrency=4)) for i in range(10)))
    for expert in core.replicas("a"):
        expert.host.load_s.add(6.0)
        expert.host.service_s.add(1.0)
    for i in range(24):
        core.acquire(request("a", f"r{i}"), i * 0.01)
    assert happened(core) == ["load a"]
    for i in range(400):
        core.acquire(request("a", f"s{i}"), 0.3)
    assert 2 <= len(happened(core)) < 9


def test_replicas_that_nobody_uses_leave_one_by_one():
    core = cluster(*(on(node, local("a", 60, keep_alive_s=60.0)) for node in ("n1", "n2")))
    warm(core, "a", "n1", "n2")
    lease = core.acquire(request("a", "r", node="n2"), 10.0)
    core.tick(60.0)
    assert happened(core) == ["stop a"]
    assert core.expert("a", "n1").host.stopping
    core.release(lease, OK, 61.0)
    core.tick(core.next_wake)
    assert happened(core) == ["stop a"]


def test_what_fails_to_load_on_two_nodes_is_not_tried_on_all():
    core = cluster(*(on(f"n{i}", local("a", 60)) for i in range(5)))
    core.acquire(request("a", "r"), 0.0)
    for now in (1.0, 2.0):
        host = next(e.host for e in core.replicas("a") if e.host.state == "loading")
        core.load_failed(host, host.generation, "broken", now)
    assert happened(core) == ["load a", "load a", "refuse r ExpertError"]
    core.acquire(request("a", "later"), 2.0)
    assert happened(core) == []
    core.tick(core.next_wake)
    assert happened(core) == ["load a"]


def test_a_load_that_fails_on_some_nodes_is_no_reason_to_doubt_a_replica_that_serves():
    core = cluster(*(on(f"n{i}", local("a", 60)) for i in range(3)))
    warm(core, "a", "n0")
    for i in range(9):
        core.acquire(request("a", f"r{i}"), 0.0)
    for _ in range(2):
        host = next(e.host for e in core.replicas("a") if e.host.state == "loading")
        core.load_failed(host, host.generation, "broken", 1.0)
    assert {action.split()[0] for action in happened(core)} == {"load"}
    assert len(core.expert("a", "n0").queue) == 8


def test_keys_take_turns_over_all_replicas():
    core = cluster(*(on(node, local("a", 60)) for node in ("n1", "n2")))
    warm(core, "a", "n1", "n2")
    leases = [core.acquire(request("a", f"x{i}"), 0.0) for i in range(2)]
    for i in range(20):
        core.acquire(replace(request("a", f"x{i + 2}"), tenant="x"), 0.0)
    for i in range(2):
        core.acquire(replace(request("a", f"y{i}"), tenant="y"), 0.0)
    for lease in leases:
        core.release(lease, OK, 1.0)
    assert sum(" y" in each for each in happened(core)) == 1


def test_a_lost_nodes_waiter_keeps_its_deadline():
    core = cluster(*(on(node, local("a", 60)) for node in ("n1", "n2")))
    core.acquire(replace(request("a", "r"), deadline=5.0), 0.0)
    core.lost("n1", "it does not answer", 1.0)
    core.tick(core.next_wake)
    assert happened(core) == ["load a", "load a", "refuse r DeadlineExceeded"]


def test_a_server_larger_than_its_nodes_memory_is_not_kept():
    core = cluster(on("n1", local("a", 60)))
    assert core.adopt("a", "n1", ENDPOINT, 120, 0.0) is not None
    assert happened(core) == ["stop a"]
    assert not core.restore(Lease("old/7", "a", ENDPOINT, 0.0, node="n1"), 0.0)


def test_an_adopted_server_larger_than_what_is_left_has_others_leave():
    core = cluster(on("n1", local("a", 60)), on("n1", local("b", 30)))
    warm(core, "b", "n1")
    assert core.adopt("a", "n1", ENDPOINT, 90, 0.0) is not None
    assert happened(core) == ["stop b"]
    assert isinstance(core.acquire(request("a", "r"), 0.0), Lease)


def test_what_an_adopted_server_takes_stays_what_was_measured():
    """A replica that was loaded elsewhere teaches what it takes to those alone that have never been in memory."""
    core = cluster(*(on(node, local("a", 60)) for node in ("n1", "n2", "n3")))
    assert core.adopt("a", "n1", ENDPOINT, 65, 0.0) is not None
    for i in range(9):
        core.acquire(request("a", f"r{i}", node="n1"), 0.0)
    core.loaded(core.expert("a", "n2").host, 1, ENDPOINT, 80, 1.0)
    core.lost("n3", "it does not answer", 2.0)
    assert core.memory.nodes["n1"].used_bytes == 65
    assert core.expert("a", "n3").host.memory_bytes == 80


def test_a_lease_is_restored_of_a_server_that_drains_and_keeps_it():
    core = cluster(on("n1", local("a", 60, concurrency=2)))
    warm(core, "a", "n1")
    known = core.acquire(request("a", "r"), 0.0)
    core.unload("a", 0.0)
    old = Lease("old/7", "a", ENDPOINT, 0.0, node="n1")
    assert core.restore(old, 0.0)
    core.release(known, OK, 1.0)
    assert happened(core) == []
    core.release(old, OK, 2.0)
    assert happened(core) == ["stop a"]
    assert not core.restore(Lease("old/8", "a", ENDPOINT, 0.0, node="n1"), 2.0)


def test_this_machine_and_what_is_no_node_can_not_be_lost():
    core = Core([local("a", 60)], 100, 0.0)
    core.acquire(ask("a"), 0.0)
    with pytest.raises(ValueError, match="this machine"):
        core.lost("", "it does not answer", 1.0)
    for event in (lambda: core.lost("n9", "it does not answer", 1.0), lambda: core.found("n9", 1.0)):
        with pytest.raises(KeyError):
            event()
    assert core.expert("a").host.state == "loading"


def test_a_node_that_comes_back_under_its_name_waits_for_what_it_had_before():
    core = cluster(*(on(node, local("a", 60)) for node in ("n1", "n2")))
    warm(core, "a", "n2")
    lease = core.acquire(request("a", "r", node="n2"), 0.0)
    before = core.expert("a", "n2").host
    one, both = {"n1": NodeMemory(100)}, {"n1": NodeMemory(100), "n2": NodeMemory(100)}
    core.reconfigure([on("n1", local("a", 60))], 0, frozenset(), 1.0, nodes=one)
    core.reconfigure([on(node, local("a", 60)) for node in both], 0, frozenset(), 2.0, nodes=both)
    assert core.memory.nodes["n2"].used_bytes == 60
    assert core.adopt("a", "n2", ENDPOINT, 60, 2.0) is None
    core.release(lease, OK, 3.0)
    assert happened(core) == ["stop a"]
    core.stopped(before, 4.0)
    assert core.adopt("a", "n2", ENDPOINT, 60, 5.0) is not None


def test_nothing_is_kept_of_nodes_that_come_and_go():
    def live(turn: int) -> None:
        name = f"n{turn}"
        core.reconfigure([on(name, local("a", 60))], 0, frozenset(), turn, nodes={name: NodeMemory(100)})
        assert core.adopt("a", name, ENDPOINT, 60, turn) is not None
        lease = core.acquire(ask("a", request_id=name), turn)
        assert isinstance(lease, Lease)
        core.lost(name, "it does not answer", turn)
        core.release(lease, OK, turn)
        core.take_actions()

    core = Core([], 0, 0.0)
    for turn in range(20):
        live(1000 * turn)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for turn in range(20, 220):
        live(1000 * turn)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 20_000
