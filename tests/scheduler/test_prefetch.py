"""Loads ahead of demand: what is loaded, at whose cost, and what is counted."""

from __future__ import annotations

from msgspec.structs import replace

from orchestrator.scheduler.rules import SwitchyardRules
from tests.support.places import ask, local, on
from tests.support.world import World

STEP_S = 20.0
IDLE_S = 45.0
"""How long b stays in memory."""
LATER_S = 60.0
"""By then b is gone, and the sessions are not over."""


def in_session(expert: str, session: str, number: int):
    return replace(ask(expert, request_id=f"{session}-{number}"), session=session)


def a_habit(world: World, *experts: str, sessions: int = 6, at: float = 0.0) -> float:
    """Sessions that ask the experts one after the other; returns when the last one ends."""
    for number in range(sessions):
        for expert in experts:
            world.arrive(at, in_session(expert, f"habit-{number}", int(at)))
            at += STEP_S
    return at


def test_what_a_session_will_ask_next_is_loaded_while_the_last_answer_is_made():
    world = World([local("a", 40), local("b", 40, keep_alive_s=IDLE_S)], 100, load_s=2.0, service_s=5.0)
    later = a_habit(world, "a", "b") + LATER_S
    world.arrive(later, in_session("a", "new", 0))
    world.arrive(later + 4.0, in_session("b", "new", 1))
    world.run(later + 30.0)
    assert world.loads[-1] == ("b", later)
    assert world.served[-1].wait_s == 0.0
    assert world.core.hosts["b"].prefetch_hits == 1


def test_who_is_launched_by_another_command_since_a_reload_is_loaded_ahead_too():
    places = [local("a", 40), local("b", 40, keep_alive_s=IDLE_S)]
    world = World(places, 100, load_s=2.0, service_s=5.0)
    later = a_habit(world, "a", "b") + LATER_S
    reloaded_at = later - LATER_S - 1.0
    world.run(reloaded_at)
    assert world.core.hosts["b"].state == "ready"
    world.core.reconfigure(places, 100, frozenset({"b"}), reloaded_at)
    world.arrive(reloaded_at + 30.0, ask("b"))
    world.arrive(later + IDLE_S, in_session("a", "new", 0))
    world.run(later + IDLE_S + 4.0)
    assert world.loads[-1] == ("b", later + IDLE_S)


def test_nobody_is_evicted_for_it():
    world = World([local("a", 60), local("b", 60)], 100)
    later = a_habit(world, "a", "b") + LATER_S
    world.arrive(later, in_session("a", "new", 0))
    world.run(later + 30.0)
    assert world.loads[-1][0] == "a"


def test_it_can_be_switched_off():
    places = [local("a", 40), local("b", 40, keep_alive_s=IDLE_S)]
    world = World(places, 100, rules=SwitchyardRules(prefetches=False))
    later = a_habit(world, "a", "b") + LATER_S
    world.arrive(later, in_session("a", "new", 0))
    world.run(later + 30.0)
    assert [host for host, at in world.loads if at >= later] == []


def test_what_an_operator_unloads_stays_unloaded_until_it_is_asked_for():
    world = World([local("a", 40), local("b", 40)], 100)
    later = a_habit(world, "a", "b") + LATER_S
    world.run(later)
    world.core.unload("b", later)
    world.arrive(later, in_session("a", "new", 0))
    world.run(later + 30.0)
    assert [host for host, at in world.loads if at >= later] == []


def test_so_does_what_was_not_in_memory_when_he_unloaded_it():
    world = World([local("a", 40), local("b", 40, keep_alive_s=IDLE_S)], 100)
    later = a_habit(world, "a", "b") + LATER_S
    world.run(later)
    assert world.core.unload("b", later) == ()
    world.arrive(later, in_session("a", "new", 0))
    world.run(later + 30.0)
    assert [host for host, at in world.loads if at >= later] == []


def test_a_load_ahead_of_demand_is_broken_off_for_who_waits():
    places = [local("a", 40), local("b", 60, keep_alive_s=IDLE_S), local("c", 60)]
    world = World(places, 100, load_s=8.0, stop_s=0.5)
    later = a_habit(world, "a", "b") + LATER_S
    world.arrive(later, in_session("a", "new", 0))
    world.arrive(later + 2.0, ask("c"))
    world.run(later + 15.0)
    assert world.loads[-2:] == [("b", later), ("c", later + 2.5)]
    assert world.core.hosts["b"].prefetch_misses == 1


def test_what_was_evicted_while_it_was_popular_comes_back_when_there_is_room():
    world = World([local("a", 60), local("b", 60, keep_alive_s=2.0)], 100)
    for second in range(60):
        world.arrive(float(second), ask("a", request_id=f"a{second}"))
    world.arrive(60.0, ask("b"))
    world.run(90.0)
    assert [host for host, at in world.loads] == ["a", "b", "a"]
    assert world.loads[-1][1] > 62.0


def test_of_several_nodes_one_loads_it():
    places = [on(node, local(name, 40, keep_alive_s=IDLE_S)) for name in "ab" for node in ("n1", "n2")]
    world = World(places, 100, load_s=2.0, service_s=5.0)
    later = a_habit(world, "a", "b") + LATER_S
    world.arrive(later, in_session("a", "new", 0))
    world.run(later + 30.0)
    assert sorted(host[0] for host, at in world.loads if at >= later) == ["a", "b"]
