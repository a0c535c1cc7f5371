"""Another fleet under load: nothing in flight is dropped, nobody is forgotten."""

from __future__ import annotations

import pytest

from orchestrator.errors import ConfigError
from orchestrator.scheduler.base import Lease
from orchestrator.scheduler.core import Core
from orchestrator.scheduler.state import Waiter
from tests.support.places import FAILED, OK, ask, become_ready, fail_to_load, happened, local, persona, remote

BUDGET = 100


def reload(core: Core, *places, changed=(), now=10.0, budget=BUDGET):
    core.reconfigure(places, budget, frozenset(changed), now)


def loaded(core: Core, name: str) -> Lease:
    """Load the host by a request, and return that request's lease."""
    core.acquire(ask(name), 0.0)
    become_ready(core, name, 1.0)
    return core.take_actions()[-1].lease


def test_an_added_expert_can_be_leased():
    core = Core([remote("a")], BUDGET, 0.0)
    reload(core, remote("a"), remote("b"))
    assert core.acquire(ask("b"), 11.0).expert == "b"


def test_waiters_of_a_removed_expert_move_to_their_other_candidates():
    core = Core([remote("a", concurrency=1), remote("b")], BUDGET, 0.0)
    lease = core.acquire(ask("a"), 0.0)
    core.acquire(ask("a", "b", request_id="w"), 0.0)
    reload(core, remote("b"))
    assert happened(core) == ["grant w b"]
    core.release(lease, OK, 11.0)


def test_waiters_with_no_other_candidate_hear_that_there_is_no_capacity():
    core = Core([remote("a", concurrency=1), remote("b")], BUDGET, 0.0)
    core.acquire(ask("a"), 0.0)
    core.acquire(ask("a", request_id="w"), 0.0)
    reload(core, remote("b"))
    assert happened(core) == ["refuse w NoCapacity"]


def test_a_removed_host_serves_its_leases_then_stops():
    core = Core([local("a", 60), remote("b")], BUDGET, 0.0)
    lease = loaded(core, "a")
    reload(core, remote("b"))
    assert happened(core) == []
    core.release(lease, OK, 11.0)
    assert happened(core) == ["stop a"]


def test_the_memory_of_a_removed_host_counts_until_it_is_back():
    core = Core([local("a", 60)], BUDGET, 0.0)
    lease = loaded(core, "a")
    host = core.expert("a").host
    reload(core, local("b", 60))
    core.acquire(ask("b"), 11.0)
    assert happened(core) == []
    core.release(lease, OK, 12.0)
    core.stopped(host, 13.0)
    assert happened(core) == ["stop a", "load b"]


def test_a_changed_host_is_launched_anew_when_the_old_server_is_gone():
    core = Core([local("a", 30)], BUDGET, 0.0)
    lease = loaded(core, "a")
    old = core.expert("a").host
    core.acquire(ask("a", request_id="w"), 1.0)
    reload(core, local("a", 40), changed=["a"])
    assert happened(core) == []
    core.release(lease, OK, 11.0)
    core.stopped(old, 12.0)
    assert happened(core) == ["stop a", "load a"]
    become_ready(core, "a", 13.0)
    assert happened(core) == ["grant w a"]


def test_a_host_changed_twice_still_waits_for_the_first_server():
    core = Core([local("a", 30)], BUDGET, 0.0)
    lease = loaded(core, "a")
    old = core.expert("a").host
    reload(core, local("a", 30), changed=["a"])
    reload(core, local("a", 31), changed=["a"])
    core.acquire(ask("a"), 11.0)
    assert happened(core) == []
    core.release(lease, OK, 12.0)
    core.stopped(old, 13.0)
    assert happened(core) == ["stop a", "load a"]


@pytest.mark.parametrize("dies", [False, True])
def test_a_server_that_is_gone_is_remembered_by_nobody(dies):
    """Each edit kept one more alive, and the host was never again loaded ahead of demand."""
    core = Core([local("a", 30)], BUDGET, 0.0)
    lease = loaded(core, "a")
    old = core.expert("a").host
    reload(core, local("a", 31), changed=["a"])
    assert core.expert("a").host.predecessor is old
    if dies:
        core.died(old, "its server exited with code -9", 11.0)
    else:
        core.release(lease, OK, 11.0)
        core.stopped(old, 12.0)
    assert core.expert("a").host.predecessor is None


def test_a_load_of_what_is_changed_is_broken_off():
    core = Core([local("a", 30)], BUDGET, 0.0)
    core.acquire(ask("a", request_id="w"), 0.0)
    old = core.expert("a").host
    reload(core, local("a", 30), changed=["a"])
    core.stopped(old, 11.0)
    assert happened(core) == ["load a", "stop a", "load a"]


def test_a_host_that_was_removed_and_comes_back_waits_for_its_old_server():
    core = Core([local("a", 30)], BUDGET, 0.0)
    lease = loaded(core, "a")
    old = core.expert("a").host
    reload(core, remote("r"))
    reload(core, local("a", 30), now=11.0)
    core.acquire(ask("a"), 12.0)
    assert happened(core) == []
    core.release(lease, OK, 13.0)
    core.stopped(old, 14.0)
    assert happened(core) == ["stop a", "load a"]


def test_a_host_that_was_removed_is_remembered_by_nobody():
    core = Core([local("a", 60), local("b", 60)], BUDGET, 0.0)
    loaded(core, "a")
    core.acquire(ask("a", "b", mu=1.0), 2.0)
    assert list(core.hosts["a"].reliefs) == [core.hosts["b"]]
    reload(core, local("a", 60))
    assert core.hosts["a"].reliefs == {}


def test_a_waiter_that_moves_to_another_expert_of_its_host_keeps_it_loaded():
    core = Core([local("a", 30, keep_alive_s=5.0), persona("poet", "a", rpm=1)], BUDGET, 0.0)
    core.release(loaded(core, "a"), OK, 2.0)
    core.release(core.acquire(ask("poet"), 3.0), OK, 4.0)
    core.acquire(ask("poet", "a", request_id="w"), 5.0)
    core.tick(10.0)
    reload(core, local("a", 30, keep_alive_s=5.0), now=11.0)
    assert happened(core) == ["grant w a"]


def test_an_unchanged_host_stays_loaded_and_takes_its_new_limits():
    core = Core([local("a", 30, concurrency=1)], BUDGET, 0.0)
    loaded(core, "a")
    core.acquire(ask("a", request_id="w"), 1.0)
    reload(core, local("a", 30, concurrency=2), persona("poet", "a"))
    assert happened(core) == ["grant w a"]
    assert isinstance(core.acquire(ask("poet"), 11.0), Waiter)


def test_a_rate_limit_that_changes_keeps_count_of_the_minute():
    core = Core([remote("a", rpm=1)], BUDGET, 0.0)
    core.acquire(ask("a"), 0.0)
    reload(core, remote("a", rpm=2))
    assert isinstance(core.acquire(ask("a"), 11.0), Lease)
    assert isinstance(core.acquire(ask("a"), 11.0), Waiter)


def test_an_unchanged_expert_keeps_its_health():
    core = Core([remote("a")], BUDGET, 0.0)
    for _ in range(3):
        core.release(core.acquire(ask("a"), 0.0), FAILED, 0.0)
    reload(core, remote("a"), remote("b"), now=1.0)
    assert core.status(1.0)[0].breaker == "open"


def test_a_persona_moves_to_another_base():
    core = Core([local("a", 40), local("b", 40), persona("poet", "a")], BUDGET, 0.0)
    loaded(core, "a")
    core.acquire(ask("poet", request_id="w"), 1.0)
    reload(core, local("a", 40), local("b", 40), persona("poet", "b"))
    assert happened(core) == ["load b"]
    become_ready(core, "b", 12.0)
    assert happened(core) == ["grant w poet"]


def test_a_local_expert_becomes_a_remote_one():
    core = Core([local("a", 40)], BUDGET, 0.0)
    lease = loaded(core, "a")
    reload(core, remote("a"))
    assert core.acquire(ask("a"), 11.0).endpoint is None
    core.release(lease, OK, 12.0)
    assert happened(core) == ["stop a"]


def test_an_edit_gives_a_host_that_failed_to_load_another_try():
    core = Core([local("a", 40)], BUDGET, 0.0)
    core.acquire(ask("a"), 0.0)
    fail_to_load(core, "a", 0.0)
    happened(core)
    reload(core, local("a", 40), now=0.1)
    core.acquire(ask("a"), 0.1)
    assert happened(core) == ["load a"]


def test_a_smaller_budget_makes_hosts_leave():
    core = Core([local("a", 40), local("b", 40)], BUDGET, 0.0)
    core.release(loaded(core, "a"), OK, 2.0)
    lease = loaded(core, "b")
    reload(core, local("a", 40), local("b", 40), budget=50)
    assert happened(core) == ["stop a"]
    core.release(lease, OK, 11.0)
    assert happened(core) == []


def test_a_fleet_that_can_not_be_is_refused_and_the_old_one_stays():
    core = Core([remote("a", concurrency=1), local("b", 40)], BUDGET, 0.0)
    core.acquire(ask("a"), 0.0)
    core.acquire(ask("a", request_id="w"), 0.0)
    with pytest.raises(ConfigError):
        reload(core, local("b", 400))
    assert happened(core) == []
    assert core.position("w", 11.0) is not None
