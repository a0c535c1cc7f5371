"""Evicted hosts whose servers can sleep: who falls asleep, who wakes, and what goes wrong."""

from __future__ import annotations

import pytest

from orchestrator.scheduler.actions import Grant
from orchestrator.scheduler.base import Lease, MemoryStatus
from orchestrator.scheduler.core import Core
from orchestrator.scheduler.rules import SwitchyardRules
from orchestrator.scheduler.state import Host
from tests.support.places import OK, ask, become_ready, fall_asleep, happened, local
from tests.support.world import World

LOAD_S = 10.0


def sleepy(name: str, *, asleep_bytes: int = 20, keep_alive_s: float = 600.0):
    return local(name, 60, asleep_bytes=asleep_bytes, keep_alive_s=keep_alive_s)


def core_of(*places, asleep_budget_bytes: int = 50) -> Core:
    """Memory for one of them at a time."""
    return Core(places, 100, 0.0, asleep_budget_bytes=asleep_budget_bytes, uniform=lambda: 0.5)


def host(core: Core, name: str) -> Host:
    return core.expert(name).host


def serve(core: Core, name: str, now: float, times: int = 1) -> float:
    """Have it serve a host's requests, with whatever has to happen first; returns the time when that is done."""
    for _ in range(times):
        lease = core.acquire(ask(name), now)
        if not isinstance(lease, Lease):
            lease, now = brought(core, name, now)
        now += 1.0
        core.release(lease, OK, now)
    return now


def brought(core: Core, name: str, now: float) -> tuple[Lease, float]:
    """The lease of the only one who waits for the host, once that is in memory."""
    for other in list(core.hosts.values()):
        if other.state == "falling_asleep":
            fall_asleep(core, other.name, now, kept_bytes=0)
        if other.stopping:
            core.stopped(other, now)
    now += 1.0 if host(core, name).waking else LOAD_S
    become_ready(core, name, now)
    (lease,) = (action.lease for action in core.take_actions() if isinstance(action, Grant))
    return lease, now


def test_an_evicted_host_falls_asleep_and_its_memory_is_given_away_when_it_does():
    core = core_of(sleepy("a"), sleepy("b"))
    now = serve(core, "a", 0.0)
    core.acquire(ask("b"), now)
    assert happened(core) == ["sleep a"]
    fall_asleep(core, "a", now + 1.0)
    assert happened(core) == ["load b"]
    assert host(core, "a").state == "asleep"


def test_a_host_that_sleeps_is_woken_and_its_wake_is_learned():
    core = core_of(sleepy("a"), sleepy("b"))
    now = serve(core, "b", serve(core, "a", 0.0))
    core.acquire(ask("a"), now)
    assert happened(core) == ["sleep b"]
    fall_asleep(core, "b", now)
    assert happened(core) == ["wake a"]
    become_ready(core, "a", now + 1.5, memory_bytes=0)
    assert happened(core) == ["grant r a"]
    assert host(core, "a").wake_s.value == 1.5
    assert host(core, "a").load_s.value == LOAD_S
    assert host(core, "a").memory_bytes == 60


def test_waking_is_waited_for_shorter_than_loading():
    core = core_of(sleepy("a"), local("b", 60), local("c", 60))
    now = serve(core, "a", serve(core, "b", serve(core, "a", 0.0)))
    now = serve(core, "c", now)
    waits = core.weigh(["a", "b"], now).waits_s
    assert waits["b"] - waits["a"] == LOAD_S - 1.0
    core.acquire(ask("a"), now)
    core.stopped(host(core, "c"), now)
    assert core.weigh(["a"], now + 0.25).waits_s["a"] == 0.75 + 1.0  # awake, and the one before has been served


def test_what_can_not_sleep_is_stopped_as_ever():
    core = core_of(local("a", 60), sleepy("b"))
    now = serve(core, "a", 0.0)
    core.acquire(ask("b"), now)
    assert happened(core) == ["stop a"]


def test_a_sleep_that_there_is_never_room_for_changes_nothing():
    """Its stays were as short as if it could be woken, and reloads took nearly all the time."""

    def loads(asleep_bytes: int | None) -> list[tuple[str, float]]:
        places = [local(name, 60, asleep_bytes=asleep_bytes) for name in "ab"]
        world = World(places, 100, load_s=10.0, service_s=0.5)
        for second in range(200):
            world.arrive(float(second), ask("aab"[second % 3], request_id=f"r{second}"))
        world.run()
        return world.loads

    assert loads(60) == loads(None)


def test_who_seldom_finds_room_to_sleep_stays_for_nearly_as_long_as_one_that_can_not():
    core = core_of(sleepy("a"), sleepy("b"), sleepy("c"), asleep_budget_bytes=20)
    serve(core, "a", 0.0)
    first = host(core, "a").reload_s
    now = 20.0
    for name in "bcbcabcbca":  # b and c are used more, and sleep in its place
        now = serve(core, name, now, times=1 if name == "a" else 5)
    assert first == LOAD_S / 10
    assert first + 3.0 < host(core, "a").reload_s <= LOAD_S


def test_a_wake_that_was_never_measured_is_expected_to_take_a_tenth_of_the_measured_load():
    core = core_of(sleepy("a"), sleepy("b"))
    serve(core, "a", 0.0)
    assert host(core, "a").load_s.value == LOAD_S
    assert host(core, "a").wake_s.value == LOAD_S / 10


def test_status_tells_what_sleepers_keep_and_may_keep():
    core = core_of(sleepy("a"), sleepy("b"))
    now = serve(core, "b", serve(core, "a", 0.0))
    core.acquire(ask("a"), now)
    fall_asleep(core, "b", now, kept_bytes=25)
    kept = {status.expert: (status.memory_bytes, status.asleep_bytes) for status in core.status(now)}
    assert kept == {"a": (60, 20), "b": (0, 25)}  # one on its way back has still what it kept
    assert core.memory == MemoryStatus(budget_bytes=100, used_bytes=60, asleep_budget_bytes=50, asleep_used_bytes=45)


def test_without_room_to_sleep_it_is_stopped():
    core = core_of(sleepy("a"), sleepy("b"), asleep_budget_bytes=19)
    now = serve(core, "a", 0.0)
    core.acquire(ask("b"), now)
    assert happened(core) == ["stop a"]


def test_the_least_regretted_sleeper_goes_for_one_that_is_used_more():
    core = core_of(sleepy("rare"), sleepy("often"), sleepy("new"), asleep_budget_bytes=20)
    now = serve(core, "often", serve(core, "rare", 0.0), times=3)
    core.acquire(ask("new"), now)
    assert happened(core) == ["stop rare"]
    assert host(core, "often").state == "draining"
    core.stopped(host(core, "rare"), now)
    assert happened(core) == ["sleep often"]


def test_one_that_is_used_less_than_those_asleep_is_stopped_itself():
    core = core_of(sleepy("rare"), sleepy("often"), sleepy("new"), asleep_budget_bytes=20)
    now = serve(core, "rare", serve(core, "often", 0.0, times=3))
    core.acquire(ask("new"), now)
    assert happened(core) == ["stop rare"]
    assert host(core, "often").state == "asleep"


def test_a_server_that_keeps_more_than_it_said_is_stopped_when_that_is_too_much():
    core = core_of(sleepy("a"), sleepy("b"))
    now = serve(core, "a", 0.0)
    core.acquire(ask("b"), now)
    happened(core)
    fall_asleep(core, "a", now, kept_bytes=51)
    assert happened(core) == ["stop a", "load b"]


def test_what_it_kept_is_remembered():
    core = core_of(sleepy("a"), sleepy("b"))
    now = serve(core, "a", 0.0)
    core.acquire(ask("b"), now)
    fall_asleep(core, "a", now, kept_bytes=33)
    assert host(core, "a").asleep_bytes == 33


def test_idle_hosts_fall_asleep_first_and_are_stopped_after_another_keep_alive():
    core = core_of(sleepy("a", keep_alive_s=30.0))
    now = serve(core, "a", 0.0)
    core.tick(now + 30.0)
    assert happened(core) == ["sleep a"]
    fall_asleep(core, "a", now + 31.0)
    assert core.next_wake == now + 61.0
    core.tick(now + 61.0)
    assert happened(core) == ["stop a"]


def test_what_is_not_kept_alive_does_not_sleep_either():
    core = core_of(sleepy("a", keep_alive_s=0.0))
    core.acquire(ask("a"), 0.0)
    happened(core)
    become_ready(core, "a", 1.0)
    (grant,) = core.take_actions()
    core.release(grant.lease, OK, 2.0)
    assert happened(core) == ["stop a"]


def test_whoever_wants_a_host_that_is_falling_asleep_has_it_woken():
    core = core_of(sleepy("a"), sleepy("b"))
    now = serve(core, "a", 0.0)
    waiter = core.acquire(ask("b"), now)
    core.acquire(ask("a", request_id="again"), now)
    core.cancel(waiter, now)
    assert happened(core) == ["sleep a"]
    fall_asleep(core, "a", now + 1.0)
    assert happened(core) == ["wake a"]


@pytest.mark.parametrize("asleep", [False, True])
def test_a_death_asleep_or_on_the_way_there_makes_it_cold(asleep):
    core = core_of(sleepy("a"), sleepy("b"))
    now = serve(core, "a", 0.0)
    core.acquire(ask("b"), now)
    if asleep:
        fall_asleep(core, "a", now)
    core.died(host(core, "a"), "its server exited with code -11", now)
    assert happened(core) == ["sleep a", "load b"]
    assert host(core, "a").state == "cold"
    assert host(core, "a").last_error == "its server exited with code -11"


def test_a_server_that_dies_or_is_wrong_when_it_wakes_is_launched_anew_for_the_same_waiter_and_sleeps_no_more():
    core = core_of(sleepy("a"), sleepy("b"))
    now = serve(core, "b", serve(core, "a", 0.0))
    core.acquire(ask("a"), now)
    fall_asleep(core, "b", now)
    happened(core)
    core.died(host(core, "a"), "its server woke up wrong", now)
    assert happened(core) == ["load a"]
    become_ready(core, "a", now + LOAD_S)
    (grant,) = core.take_actions()
    core.release(grant.lease, OK, now + LOAD_S + 1.0)
    core.acquire(ask("b"), now + LOAD_S + 1.0)
    assert happened(core) == ["stop a"]


def test_an_operator_who_unloads_a_sleeper_has_its_server_ended():
    core = core_of(sleepy("a"), sleepy("b"))
    serve(core, "b", serve(core, "a", 0.0))
    assert core.unload("a", 50.0) == (host(core, "a"),)
    assert happened(core) == ["stop a"]
    core.stopped(host(core, "a"), 51.0)
    assert core.unload("a", 52.0) == ()


def test_unloading_overrides_an_eviction_into_sleep():
    core = core_of(sleepy("a"), sleepy("b"))
    now = serve(core, "a", 0.0)
    core.acquire(ask("b"), now)
    assert happened(core) == ["sleep a"]
    core.unload("a", now)
    assert happened(core) == ["stop a"]
    fall_asleep(core, "a", now)  # it was on its way already
    assert happened(core) == []
    core.stopped(host(core, "a"), now)
    assert happened(core) == ["load b"]


def test_a_reload_that_removes_a_sleeper_ends_its_server():
    core = core_of(sleepy("a"), sleepy("b"))
    serve(core, "b", serve(core, "a", 0.0))
    core.reconfigure([sleepy("b")], 100, frozenset(), 50.0, asleep_budget_bytes=50)
    assert happened(core) == ["stop a"]


def test_less_room_to_sleep_ends_who_is_regretted_least():
    core = core_of(sleepy("a"), sleepy("b"), sleepy("c"))
    now = serve(core, "c", serve(core, "b", serve(core, "a", 0.0)))
    assert [host(core, name).state for name in "abc"] == ["asleep", "asleep", "ready"]
    core.reconfigure([sleepy("a"), sleepy("b"), sleepy("c")], 100, frozenset(), now, asleep_budget_bytes=20)
    assert happened(core) == ["stop a"]


def test_a_sleeper_that_the_budget_can_not_hold_any_more_is_ended_when_it_is_wanted():
    core = core_of(sleepy("a"), sleepy("b"))
    core.acquire(ask("a", request_id="first"), 0.0)
    become_ready(core, "a", 10.0, memory_bytes=90)
    core.release(core.take_actions()[-1].lease, OK, 11.0)
    now = serve(core, "b", 11.0)
    core.reconfigure([sleepy("a"), sleepy("b")], 80, frozenset(), now)
    core.acquire(ask("a", request_id="w"), now)
    assert happened(core) == ["stop a", "refuse w ExpertError"]
    core.stopped(host(core, "a"), now + 1.0)
    assert host(core, "a").state == "cold"


def test_a_sleeper_whose_waiter_leaves_is_stopped_after_its_keep_alive():
    core = core_of(sleepy("a", keep_alive_s=30.0), sleepy("b"))
    now = serve(core, "a", 0.0)
    core.acquire(ask("b"), now)
    waiter = core.acquire(ask("a", request_id="again"), now)
    fall_asleep(core, "a", now)
    happened(core)
    core.cancel(waiter, now + 1.0)
    while core.next_wake < now + 30.0:
        core.tick(core.next_wake)
    assert happened(core) == []
    assert core.next_wake == now + 30.0
    core.tick(now + 30.0)
    assert happened(core) == ["stop a"]


def test_sleepers_whose_waiters_leave_keep_no_more_than_they_may():
    places = [sleepy("a"), sleepy("b"), sleepy("c")]
    core = core_of(*places)
    now = serve(core, "b", serve(core, "a", 0.0))
    core.acquire(ask("c"), now)
    fall_asleep(core, "b", now)
    become_ready(core, "c", now + LOAD_S)
    waiters = [core.acquire(ask(name), now + LOAD_S) for name in "ab"]
    core.reconfigure(places, 100, frozenset(), now + LOAD_S, asleep_budget_bytes=20)
    assert "stop a" not in happened(core)
    for waiter in waiters:
        core.cancel(waiter, now + LOAD_S)
    assert happened(core) == ["stop a"]


def test_a_host_that_need_not_fall_asleep_after_all_is_unloaded_after_its_keep_alive():
    core = core_of(sleepy("rare"), sleepy("often", keep_alive_s=30.0), sleepy("new"), asleep_budget_bytes=20)
    now = serve(core, "often", serve(core, "rare", 0.0), times=3)
    waiter = core.acquire(ask("new"), now)
    core.tick(now + 30.0)
    assert host(core, "often").state == "draining"  # until there is room to sleep
    assert happened(core) == ["stop rare"]
    core.cancel(waiter, now + 31.0)
    core.stopped(host(core, "rare"), now + 32.0)
    assert happened(core) == ["sleep often"]


def test_what_is_told_of_a_sleep_after_the_next_has_begun_is_no_news():
    core = core_of(sleepy("a"), sleepy("b"))
    now = serve(core, "a", 0.0)
    core.cancel(core.acquire(ask("b"), now), now)
    [first] = core.take_actions()
    core.unload("a", now)
    core.stopped(host(core, "a"), now)
    now = serve(core, "a", now)
    core.acquire(ask("b"), now)
    assert happened(core)[-1] == "sleep a"
    core.slept(host(core, "a"), first.generation, 20, now)
    assert host(core, "a").state == "falling_asleep"


def test_closing_ends_sleepers_too():
    core = core_of(sleepy("a"), sleepy("b"))
    serve(core, "b", serve(core, "a", 0.0))
    core.close(50.0)
    assert sorted(happened(core)) == ["stop a", "stop b"]


def test_however_fast_it_comes_back_a_host_that_has_served_nobody_stays_for_two_seconds():
    """Else those that can't serve yet, by their circuit breakers, would take turns without end."""
    core = core_of(local("a", 60), local("b", 60))
    core.acquire(ask("a"), 5.0)
    become_ready(core, "a", 5.0)
    core.acquire(ask("b"), 5.0)
    host(core, "a").served = 0
    assert SwitchyardRules().leaves_at(host(core, "a"), host(core, "b"), 5.0) >= 7.0
