"""More nodes serve more, and nobody waits longer for it: replicas come where they are needed, and don't take turns."""

from __future__ import annotations

import random

from orchestrator.scheduler.rules import SwitchyardRules
from tests.support.places import ask, local, on
from tests.support.world import World

EXPERTS = [f"expert-{i}" for i in range(8)]
POPULARITY = [1.0 / (i + 1) for i in range(8)]


def nodes(count: int) -> list[str]:
    return [f"n{i}" for i in range(count)]


def mixed_traffic(num_nodes: int, *, rate: float, until: float) -> World:
    """Of all experts on each node, two of which fit there, with as many times the rate."""
    places = [on(node, local(name, 50, concurrency=4)) for name in EXPERTS for node in nodes(num_nodes)]
    rules = SwitchyardRules(prefetches=False)
    world = World(places, 100, load_s=3.0, stop_s=0.2, service_s=1.0, rules=rules, max_waiting=1000)
    draw = random.Random(7)
    for i in range(int(until * rate * num_nodes)):
        (name,) = draw.choices(EXPERTS, POPULARITY)
        world.arrive(i / (rate * num_nodes), ask(name, request_id=f"r{i}"))
    world.run()
    return world


def p99_wait_s(world: World) -> float:
    waits_s = sorted(served.wait_s for served in world.served)
    return waits_s[len(waits_s) * 99 // 100]


def test_as_many_nodes_at_as_many_times_the_rate_are_no_worse():
    for rate in (0.5, 2.5):
        one, four = (mixed_traffic(count, rate=rate, until=200.0) for count in (1, 4))
        assert len(four.served) == 4 * len(one.served)
        assert p99_wait_s(four) <= p99_wait_s(one)
        assert len(four.loads) / len(four.served) <= len(one.loads) / len(one.served)


def test_an_expert_that_needs_three_nodes_has_them_and_keeps_them():
    half_gb = 500_000_000  # whose load is expected to take 3 s
    places = [on(node, local("a", half_gb, concurrency=4)) for node in nodes(5)]
    world = World(places, 800_000_000, load_s=3.0, service_s=1.0)
    for i in range(2000):
        world.arrive(i / 10.0, ask("a", request_id=f"r{i}"))
    world.run(200.0)
    assert 3 <= len(world.loads) <= 4
    assert max(served.wait_s for served in world.served if served.at > 30.0) < 0.5


def test_nobody_starves_for_another_experts_replicas():
    names = nodes(3)
    places = [on(node, local(name, 60, concurrency=4)) for name in ("busy", "wanted") for node in names]
    world = World(places, 100, load_s=1.0, stop_s=0.1, service_s=1.0, max_waiting=10_000)
    for i in range(1500):
        world.arrive(i / 20.0, ask("busy", request_id=f"r{i}"))
    for i in range(4):
        world.arrive(10.0 + 10.0 * i, ask("wanted", request_id=f"w{i}"))
    world.run(100.0)
    waits_s = {served.request_id: served.wait_s for served in world.served if served.expert == "wanted"}
    assert len(waits_s) == 4
    assert max(waits_s.values()) < 15.0
