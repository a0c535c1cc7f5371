"""What is in memory, and who makes room for whom."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from orchestrator.errors import ConfigError, ExpertError
from orchestrator.scheduler.actions import Refuse
from orchestrator.scheduler.base import Lease
from orchestrator.scheduler.core import Core
from orchestrator.scheduler.state import Waiter
from tests.support.places import ENDPOINT, OK, ask, become_ready, fail_to_load, happened, local, persona, remote


def states(core: Core) -> dict[str, str]:
    return {status.expert: status.state for status in core.status(0.0)}


def ready(*places, budget=100):
    """A core in which every host has been loaded, used once, and is idle at second 10."""
    core = Core(places, budget, 0.0)
    for place in places:
        core.acquire(ask(place.expert), 0.0)
    for at, place in enumerate(places):
        become_ready(core, place.expert, 1.0 + at)
    for action in core.take_actions():
        if hasattr(action, "lease"):
            core.release(action.lease, OK, 10.0)
    core.take_actions()
    return core


def test_waiters_share_one_load():
    core = Core([local("a", 60, concurrency=2)], 100, 0.0)
    for name in ("r1", "r2", "r3"):
        assert isinstance(core.acquire(ask("a", request_id=name), 0.0), Waiter)
    assert happened(core) == ["load a"]
    become_ready(core, "a", 3.0)
    assert happened(core) == ["grant r1 a", "grant r2 a"]


def test_a_lease_on_a_loaded_host_carries_its_endpoint():
    core = ready(local("a", 60))
    assert core.acquire(ask("a"), 11.0).endpoint.base_url == "http://127.0.0.1:1/v1"


def test_a_load_does_not_hold_up_who_is_resident():
    core = ready(local("a", 50), budget=100)
    core.reconfigure([local("a", 50), local("b", 50)], 100, frozenset(), 10.0)
    core.acquire(ask("b"), 11.0)
    assert happened(core) == ["load b"]
    assert isinstance(core.acquire(ask("a"), 11.0), Lease)


def test_load_times_are_learned():
    core = Core([local("a", 60)], 100, 0.0)
    assert core.weigh(["a"], 0.0).waits_s == {"a": pytest.approx(0.5)}  # assumed: half a second and the time to read it
    core.acquire(ask("a"), 0.0)
    become_ready(core, "a", 8.0)
    core.unload("a", 8.0)
    [granted, *_] = core.take_actions()[1:]
    core.release(granted.lease, OK, 9.0)
    core.stopped(core.expert("a").host, 9.5)
    assert core.weigh(["a"], 10.0).waits_s == {"a": 8.0}


def test_an_idle_host_makes_room_at_once_and_its_memory_is_awaited():
    core = ready(local("a", 60))
    core.reconfigure([local("a", 60), local("b", 60)], 100, frozenset(), 10.0)
    core.acquire(ask("b"), 11.0)
    assert happened(core) == ["stop a"]
    core.stopped(core.expert("a").host, 12.0)
    assert happened(core) == ["load b"]


def test_the_least_regretted_idle_host_goes():
    core = ready(local("often", 50), local("rarely", 50))
    for at in range(11, 15):
        core.release(core.acquire(ask("often"), at), OK, at + 0.5)
    core.release(core.acquire(ask("rarely"), 16.0), OK, 17.0)  # more recent, as LRU would have it
    core.reconfigure([local("often", 50), local("rarely", 50), local("new", 50)], 100, frozenset(), 18.0)
    core.acquire(ask("new"), 18.0)
    assert happened(core) == ["stop rarely"]


def test_a_leased_host_is_left_alone_for_a_quantum_then_drains_then_makes_room():
    core = ready(local("a", 60), local("b", 30))
    core.reconfigure([local("a", 60), local("b", 30), local("c", 100)], 100, frozenset(), 10.0)
    lease = core.acquire(ask("a"), 20.0)
    core.acquire(ask("c"), 20.0)
    assert happened(core) == []
    core.tick(23.9)
    assert states(core)["a"] == "ready"
    assert core.next_wake == pytest.approx(24.0, abs=0.01)  # four loads of a second
    core.tick(24.1)
    assert happened(core) == ["stop b"]
    assert states(core)["a"] == "draining"
    assert isinstance(core.acquire(ask("a"), 24.5), Waiter)  # no new leases
    core.release(lease, OK, 25.0)
    assert happened(core) == ["stop a"]
    core.stopped(core.expert("a").host, 26.0)
    assert happened(core) == []
    core.stopped(core.expert("b").host, 26.5)
    assert happened(core) == ["load c"]


def test_room_that_is_being_made_for_one_is_not_counted_for_another():
    places = [local(name, 50) for name in "abcd"]
    core = ready(*places[:2])
    core.reconfigure(places, 100, frozenset(), 10.0)
    core.acquire(ask("c"), 11.0)
    core.acquire(ask("d"), 11.0)
    assert sorted(happened(core)) == ["stop a", "stop b"]


def test_while_an_overdue_host_can_not_be_helped_nobody_behind_it_is_loaded():
    places = [local("idle", 40), local("busy", 40), local("small", 20), local("large", 90)]
    core = ready(places[0])
    core.reconfigure(places, 100, frozenset(), 10.0)
    core.acquire(ask("busy"), 20.0)
    become_ready(core, "busy", 25.0)
    core.acquire(ask("large"), 25.0)
    happened(core)
    core.tick(30.0)  # large is overdue, but what took 5 s to load has not been there for its 20 s
    core.acquire(ask("small"), 30.0)
    assert happened(core) == []
    core.tick(45.0)
    assert happened(core) == ["stop idle"]
    assert states(core)["busy"] == "draining"


def test_waiters_of_a_host_that_must_leave_go_where_they_are_better_off():
    places = [local("a", 60), local("b", 60), remote("c")]
    core = ready(places[0])
    core.reconfigure(places, 100, frozenset(), 10.0)
    core.acquire(ask("a"), 20.0)
    core.acquire(ask("a", "c", mu=0.01, step=0.03, request_id="w"), 20.0)
    core.acquire(ask("b"), 20.0)
    core.tick(30.0)
    assert happened(core) == ["grant w c"]


def test_a_drain_is_called_off_when_nobody_needs_the_room_any_more():
    core = ready(local("a", 60, concurrency=2))
    core.reconfigure([local("a", 60, concurrency=2), local("b", 60)], 100, frozenset(), 10.0)
    core.acquire(ask("a"), 20.0)
    waiter = core.acquire(ask("b"), 20.0)
    core.tick(30.0)
    assert states(core)["a"] == "draining"
    core.acquire(ask("a", request_id="second"), 31.0)
    core.cancel(waiter, 32.0)
    assert states(core)["a"] == "ready"
    assert happened(core) == ["grant second a"]


def test_a_drain_that_is_called_off_leaves_no_more_than_a_smaller_budget_in_memory():
    places = [local("a", 40), local("b", 60), local("c", 90)]
    core = Core(places, 100, 0.0)
    for name in "ab":
        core.acquire(ask(name), 0.0)
        become_ready(core, name, 1.0)
    waiter = core.acquire(ask("c"), 2.0)
    core.tick(60.0)
    core.reconfigure(places, 95, frozenset(), 61.0)
    assert (states(core)["a"], states(core)["b"]) == ("draining", "draining")
    core.cancel(waiter, 62.0)
    assert sorted((states(core)["a"], states(core)["b"])) == ["draining", "ready"]
    core.cancel(core.acquire(ask("c"), 63.0), 64.0)
    assert sorted((states(core)["a"], states(core)["b"])) == ["draining", "ready"]


def test_those_in_memory_leave_even_when_that_makes_too_little_room_for_a_load():
    places = [local("a", 60), local("b", 40), local("c", 40)]
    core = ready(places[0], budget=150)
    core.reconfigure(places, 150, frozenset(), 10.0)
    core.acquire(ask("b"), 11.0)
    core.acquire(ask("c"), 11.0)
    assert happened(core) == ["load b", "load c"]
    core.reconfigure([local("a", 40), *places[1:]], 50, frozenset(), 12.0)
    assert happened(core) == ["stop a"]


def test_what_is_free_beyond_what_somebody_waits_for_is_given_away():
    core = Core([local("a", 60), local("b", 60), local("c", 30), local("d", 30)], 100, 0.0)
    core.acquire(ask("a"), 0.0)
    become_ready(core, "a", 1.0)
    core.acquire(ask("b"), 2.0)
    core.tick(20.0)
    assert states(core)["a"] == "draining"
    happened(core)
    core.acquire(ask("c"), 21.0)
    assert happened(core) == ["load c"]
    core.acquire(ask("d"), 22.0)  # of the 40 bytes beside b only 10 are left
    core.tick(100.0)
    assert happened(core) == []


def test_those_that_can_not_be_loaded_now_hold_nobody_up():
    broken = [local(f"broken-{number}", 1) for number in range(100)]
    core = Core([*broken, local("good", 1)], 1000, 0.0)
    for now in (0.0, 10.0, 20.0):
        for place in broken:
            core.acquire(ask(place.expert), now)
            fail_to_load(core, place.expert, now)
    for place in broken:
        core.acquire(ask(place.expert), 21.0)  # until 24 nobody tries
    happened(core)
    core.acquire(ask("good"), 22.0)
    assert happened(core) == ["load good"]


def bulk(name: str, request_id: str = "r"):
    return replace(ask(name, request_id=request_id), priority="bulk")


def test_bulk_work_is_loaded_a_reload_time_after_the_last_answer_of_who_is_there():
    core = Core([local("a", 60), local("b", 60)], 100, 0.0)
    core.acquire(ask("a"), 0.0)
    become_ready(core, "a", 2.0)
    [_, granted] = core.take_actions()
    core.acquire(bulk("b"), 3.0)
    core.release(granted.lease, OK, 20.0)
    assert happened(core) == []
    core.tick(21.9)
    assert happened(core) == []
    core.tick(22.0)
    assert happened(core) == ["stop a"]


def test_who_is_leased_at_once_while_bulk_work_waits_is_looked_at_again_when_it_has_stayed_long_enough():
    core = ready(local("a", 60))
    core.reconfigure([local("a", 60), local("b", 60)], 100, frozenset(), 10.0)
    core.acquire(bulk("b"), 10.5)
    assert core.next_wake == 11.0
    core.acquire(ask("a"), 10.6)
    while core.next_wake < 21.0:
        core.tick(core.next_wake)
        assert states(core)["a"] == "ready"
    assert core.next_wake == 21.0  # twenty reloads of a second since it was loaded
    core.tick(21.0)
    assert states(core)["a"] == "draining"


def test_a_host_that_was_kept_for_one_who_left_is_unloaded_after_its_keep_alive():
    core = Core([local("base", 60, keep_alive_s=10.0), persona("poet", "base", rpm=1)], 100, 0.0)
    core.acquire(ask("poet"), 0.0)
    become_ready(core, "base", 1.0)
    [_, granted] = core.take_actions()
    core.release(granted.lease, OK, 2.0)
    waiter = core.acquire(ask("poet"), 3.0)
    core.tick(12.0)
    core.cancel(waiter, 20.0)
    assert happened(core) == ["stop base"]


def test_a_load_that_takes_longer_than_expected_is_expected_to_take_as_long_again():
    core = Core([local("a", 60)], 100, 0.0)
    core.acquire(ask("a"), 0.0)
    queued_s = 1.0
    load_s = core.weigh(["a"], 0.0).waits_s["a"] - queued_s
    assert core.weigh(["a"], 100.0).waits_s["a"] == pytest.approx(100.0 - load_s + queued_s)


def test_pinned_hosts_are_never_evicted_nor_unloaded_when_idle():
    places = [local("pinned", 60, pin=True, keep_alive_s=1.0), local("a", 40)]
    core = ready(*places)
    core.reconfigure([*places, local("b", 40)], 100, frozenset(), 10.0)
    core.acquire(ask("b"), 1000.0)
    assert happened(core) == ["stop a"]
    core.tick(2000.0)
    assert states(core)["pinned"] == "ready"


def test_an_idle_host_is_unloaded_after_its_keep_alive():
    core = ready(local("a", 60, keep_alive_s=30.0))
    assert core.next_wake == 40.0
    core.release(core.acquire(ask("a"), 20.0), OK, 25.0)
    core.tick(40.0)
    assert happened(core) == []
    assert core.next_wake == 55.0
    core.tick(55.0)
    assert happened(core) == ["stop a"]


def test_without_keep_alive_a_host_goes_right_after_use():
    core = Core([local("a", 60, keep_alive_s=0.0)], 100, 0.0)
    core.acquire(ask("a"), 0.0)
    become_ready(core, "a", 1.0)
    [_, granted] = core.take_actions()
    core.release(granted.lease, OK, 2.0)
    assert happened(core) == ["stop a"]


def test_a_host_larger_than_the_budget_is_a_config_error():
    with pytest.raises(ConfigError, match=r"'a' needs 5\.0 GB; the memory budget is 4\.0 GB \(memory\.budget_gb\)"):
        Core([local("a", 5_000_000_000)], 4_000_000_000, 0.0)


def test_a_host_that_does_not_fit_beside_the_pinned_ones_is_a_config_error():
    with pytest.raises(ConfigError, match="of which pinned experts take"):
        Core([local("pinned", 60, pin=True), local("a", 50)], 100, 0.0)
    with pytest.raises(ConfigError, match=r"the pinned experts need 0\.0 GB \(p1, p2\), more than"):
        Core([local("p1", 60, pin=True), local("p2", 60, pin=True)], 100, 0.0)


def test_a_persona_of_nobody_is_a_config_error():
    with pytest.raises(ConfigError, match="needs the weights of 'nobody'"):
        Core([persona("poet", "nobody")], 100, 0.0)


def test_memory_that_is_not_declared_is_assumed_then_learned():
    core = Core([local("a", None), local("b", 70)], 100, 0.0)
    core.acquire(ask("a"), 0.0)
    become_ready(core, "a", 1.0, memory_bytes=20)
    assert next(s.memory_bytes for s in core.status(1.0) if s.expert == "a") == 20
    core.acquire(ask("b"), 1.0)
    assert "load b" in happened(core)  # 70 fit beside 20


def test_a_server_larger_than_declared_makes_others_leave():
    core = ready(local("a", 40), local("b", 40))
    core.reconfigure([local("a", 40), local("b", 40), local("c", 20)], 100, frozenset(), 10.0)
    core.acquire(ask("c", request_id="w"), 11.0)
    become_ready(core, "c", 12.0, memory_bytes=50)
    assert happened(core) == ["load c", "stop a", "grant w c"]


def test_a_server_that_turns_out_too_large_for_the_budget_fails_clearly():
    core = Core([local("a", 40)], 100, 0.0)
    core.acquire(ask("a", request_id="w"), 0.0)
    become_ready(core, "a", 1.0, memory_bytes=200)
    assert happened(core) == ["load a", "stop a"]
    core.stopped(core.expert("a").host, 2.0)
    [refused] = core.take_actions()
    assert isinstance(refused, Refuse)
    assert isinstance(refused.error, ExpertError)
    assert refused.error.kind == "not_loaded"


def test_what_is_known_to_be_too_large_is_refused_at_once_however_often_it_is_asked_for():
    core = Core([local("a", 40)], 100, 0.0)
    core.acquire(ask("a", request_id="w"), 0.0)
    become_ready(core, "a", 1.0, memory_bytes=200)
    core.stopped(core.expert("a").host, 2.0)
    happened(core)
    for _ in range(2):
        core.acquire(ask("a", request_id="w"), 2.1)
        assert happened(core) == ["refuse w ExpertError"]


def test_a_failed_load_sends_waiters_to_their_other_candidates():
    core = Core([local("a", 60), remote("b")], 100, 0.0)
    core.acquire(ask("a", "b", request_id="two"), 0.0)
    core.acquire(ask("a", request_id="one"), 0.0)
    happened(core)
    fail_to_load(core, "a", 1.0)
    assert happened(core) == ["grant two b", "refuse one ExpertError"]


def test_the_error_of_a_failed_load_names_the_expert_that_was_asked_for():
    core = Core([local("base", 60), persona("poet", "base")], 100, 0.0)
    core.acquire(ask("poet"), 0.0)
    fail_to_load(core, "base", 1.0, detail="broken at /some/path")
    error = core.take_actions()[-1].error
    assert (error.expert, error.kind, error.message) == ("poet", "not_loaded", "broken")
    assert core.status(1.0)[0].last_error == "broken at /some/path"


def test_failed_loads_back_off_exponentially():
    core = Core([local("a", 60)], 100, 0.0)
    now, pauses = 0.0, []
    for _ in range(9):
        core.acquire(ask("a"), now)
        pauses.append(core.next_wake - now if core.next_wake < 1e9 else 0.0)
        core.tick(now + pauses[-1])
        now += pauses[-1]
        assert happened(core) == ["load a"]
        fail_to_load(core, "a", now)
        happened(core)
    assert pauses == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_during_a_back_off_beyond_the_deadline_a_request_hears_at_once():
    core = Core([local("a", 60)], 100, 0.0)
    core.acquire(ask("a"), 0.0)
    fail_to_load(core, "a", 0.0)
    with pytest.raises(ExpertError, match="failed to load") as caught:
        core.acquire(ask("a", deadline=0.6), 0.5)
    assert caught.value.retry_after_s == 0.5


def test_a_server_that_dies_is_loaded_again_by_the_next_request():
    core = ready(local("a", 60))
    lease = core.acquire(ask("a"), 11.0)
    core.died(core.expert("a").host, "its server exited with code -11", 12.0)
    assert states(core) == {"a": "cold"}
    core.acquire(ask("a", request_id="w"), 12.5)
    assert happened(core) == ["load a"]
    become_ready(core, "a", 13.0)
    assert happened(core) == ["grant w a"]  # the lost lease occupies nothing
    core.release(lease, OK, 14.0)
    assert core.status(14.0)[0].leases == 1


def test_who_waits_for_a_server_that_dies_has_it_loaded_again():
    core = ready(local("a", 60))
    core.acquire(ask("a"), 11.0)
    core.acquire(ask("a"), 11.0)
    core.died(core.expert("a").host, "gone", 12.0)
    assert happened(core) == ["load a"]


def test_who_waits_for_a_server_that_dies_may_be_better_off_elsewhere():
    core = Core([local("a", 60), remote("b")], 100, 0.0)
    core.acquire(ask("a"), 0.0)
    become_ready(core, "a", 8.0)
    happened(core)
    core.acquire(ask("a", "b", mu=0.01, step=0.05, request_id="w"), 9.0)  # five seconds' worth
    core.died(core.expert("a").host, "gone", 10.0)
    assert happened(core) == ["grant w b"]


def test_an_answer_in_between_ends_a_crash_loop():
    core = ready(local("a", 60))
    for now in (20.0, 30.0, 40.0):
        lease = core.acquire(ask("a"), now)
        core.died(core.expert("a").host, "gone", now + 1)
        core.release(lease, OK, now + 1)
        core.acquire(ask("a"), now + 1)
        become_ready(core, "a", now + 2)
        [loading, granted] = core.take_actions()
        core.release(granted.lease, OK, now + 3)
        assert loading.host.failures == 0


def test_a_crash_loop_backs_off():
    core = Core([local("a", 60)], 100, 0.0)
    core.acquire(ask("a"), 0.0)
    core.acquire(ask("a"), 0.0)
    core.acquire(ask("a"), 0.0)
    become_ready(core, "a", 1.0)
    core.died(core.expert("a").host, "gone", 2.0)
    become_ready(core, "a", 3.0)
    happened(core)
    core.died(core.expert("a").host, "gone", 4.0)
    assert happened(core) == []
    assert core.next_wake == 5.0
    core.tick(5.0)
    assert happened(core) == ["load a"]


def test_unloading_drains_and_who_waits_has_it_loaded_again():
    core = ready(local("a", 60))
    lease = core.acquire(ask("a"), 11.0)
    core.acquire(ask("a"), 11.0)
    (host,) = core.unload("a", 12.0)
    assert happened(core) == []
    core.release(lease, OK, 13.0)
    assert happened(core) == ["stop a"]
    core.stopped(host, 14.0)
    assert happened(core) == ["load a"]
    assert core.unload("a", 15.0) == (host,)
    assert happened(core) == ["stop a"]  # which ends its launch


def test_a_launch_that_succeeds_while_it_is_broken_off_is_no_news():
    core = Core([local("a", 60)], 100, 0.0)
    core.cancel(core.acquire(ask("a"), 0.0), 0.5)
    (host,) = core.unload("a", 1.0)
    become_ready(core, "a", 1.0)
    assert states(core) == {"a": "draining"}
    core.stopped(host, 2.0)
    assert happened(core) == ["load a", "stop a"]


def test_what_is_told_of_a_launch_after_the_next_has_begun_is_no_news():
    core = Core([local("a", 60)], 100, 0.0)
    core.acquire(ask("a"), 0.0)
    [first] = core.take_actions()
    fail_to_load(core, "a", 1.0)
    core.acquire(ask("a"), 1.0)
    core.tick(2.0)
    assert happened(core)[1:] == ["load a"]
    core.loaded(first.host, first.generation, ENDPOINT, 60, 2.5)
    core.load_failed(first.host, first.generation, "broken", 2.5)
    assert happened(core) == []
    assert states(core) == {"a": "loading"}


def test_unloading_what_was_to_be_loaded_for_its_worth_calls_that_off():
    core = Core([local("a", 60, concurrency=9), local("b", 60)], 100, 0.0)
    core.acquire(ask("a"), 0.0)
    become_ready(core, "a", 1.0)
    happened(core)
    now = 2.0
    while isinstance(admitted := core.acquire(ask("b", "a", mu=1.0), now), Lease):  # but would rather have had b
        now += 1.0
    core.cancel(admitted, now)
    assert states(core)["a"] == "draining"
    assert core.unload("b", now) == ()
    assert states(core)["a"] == "ready"


def test_what_stops_when_it_is_closed_makes_room_for_nobody():
    places = [local("a", 60, concurrency=2), local("b", 30)]
    core = ready(*places)
    core.reconfigure([*places, local("c", 60)], 100, frozenset(), 11.0)
    for _ in range(2):  # answered by a, and c, which they would rather have had, is not forgotten
        assert isinstance(core.acquire(ask("c", "a", mu=1.0), 11.0), Lease)
    core.close(12.0)
    stopping = [host for host in core.hosts.values() if host.stopping]
    assert happened(core) == ["stop a", "stop b"]
    for host in stopping:
        core.stopped(host, 13.0)
    assert happened(core) == []


def test_closing_stops_every_server():
    core = ready(local("a", 50), local("b", 50))
    core.acquire(ask("a"), 11.0)
    core.close(12.0)
    assert happened(core) == ["stop a", "stop b"]
