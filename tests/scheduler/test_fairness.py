"""Nobody starves, and the swaps that this takes are few: the bound that `residency.py` states, on simulated machines."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from tests.support.places import ask, local
from tests.support.world import World


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(20, 100), min_size=1, max_size=5),
    size=st.integers(20, 100),
    busy=st.floats(0.1, 3.0),
    load_s=st.floats(0.05, 3.0),
    stop_s=st.floats(0.0, 1.0),
    service_s=st.floats(0.05, 5.0),
    concurrency=st.integers(1, 6),
    batching=st.sampled_from(["continuous", "together"]),
)
def test_whoever_is_wanted_gets_its_turn_however_busy_the_others_are(
    sizes, size, busy, load_s, stop_s, service_s, concurrency, batching
):
    """Fleets that need not fit together, from a light load to three times what they can take."""
    others = [f"other-{i}" for i in range(len(sizes))]
    places = [local(name, other, concurrency=concurrency) for name, other in zip(others, sizes, strict=True)]
    places = [replace(place, batching=batching) for place in [*places, local("wanted", size)]]
    bound = bound_s(load_s, stop_s, service_s, others=len(others))
    world = World(places, 100, load_s=load_s, stop_s=stop_s, service_s=service_s)
    rate = min(busy * concurrency / service_s, 600 / bound) / len(others)
    for name in others:
        flood(world, name, rate=rate, until=20.0 + bound)
    world.arrive(20.0, ask("wanted", request_id="w"))
    world.run(20.0 + bound)
    assert "w" in {served.request_id for served in world.served}


def test_a_resident_that_is_never_out_of_work_leaves_when_it_has_stayed_long_enough():
    world = World([local("busy", 60, concurrency=4), local("cold", 60)], 100, load_s=1.0, stop_s=0.1, service_s=1.0)
    flood(world, "busy", rate=8.0, until=60.0)
    world.arrive(20.0, ask("cold", request_id="w"))
    world.run(60.0)
    served = {s.request_id: s for s in world.served}
    assert 4.0 <= served["w"].wait_s <= 4.0 + 1.0 + 0.1 + 1.0  # four reloads, a lease, a stop, a load


def test_a_large_host_is_not_starved_by_small_ones_that_come_and_go():
    small = [local(f"small-{i}", 40) for i in range(6)]
    world = World([*small, local("large", 90)], 100, load_s=0.5, stop_s=0.1, service_s=0.5)
    for i in range(600):
        world.arrive(i * 0.1, ask(f"small-{i % 6}", request_id=f"r{i}"))
    world.arrive(10.0, ask("large", request_id="w"))
    world.run(60.0)
    served = {s.request_id: s for s in world.served}
    assert served["w"].wait_s <= bound_s(0.5, 0.1, 0.5, others=6)


def test_a_resident_leaves_when_its_next_batch_would_be_dearer_than_a_visit():
    """Two that wait aren't worth a batch of eight, once the load has served many."""
    batches = [replace(local(name, 60, concurrency=8), batching="together") for name in "ab"]
    world = World(batches, 100, load_s=3.0, stop_s=0.0, service_s=2.0)
    for i in range(34):
        world.arrive(0.1, ask("a", request_id=f"a{i}"))
    world.arrive(0.2, ask("b", request_id="b"))
    world.run(20.0)
    order = [served.request_id for served in world.served]
    assert order.index("b") == 32  # after four full batches, and the last two come back for
    assert [name for name, _ in world.loads] == ["a", "b", "a"]


def test_a_residents_queue_is_served_out_before_it_leaves():
    """Two experts alternate, room for one: requests are served in blocks, not with a swap for each."""
    world = World([local("a", 60), local("b", 60)], 100, load_s=2.0, stop_s=0.1, service_s=0.2)
    for i in range(200):
        world.arrive(i * 0.3, ask("ab"[i % 2], request_id=f"r{i}"))
    world.run()
    assert len(world.served) == 200
    assert len(world.loads) <= 30


def test_everybody_is_served_when_nothing_fits_together():
    names = [f"e{i}" for i in range(8)]
    world = World([local(name, 60, concurrency=2) for name in names], 100, load_s=1.0, service_s=0.5)
    for i in range(160):
        world.arrive(i * 0.2, ask(names[i * 7 % 8], request_id=f"r{i}"))
    world.run()
    assert Counter(s.expert for s in world.served) == dict.fromkeys(names, 20)
    assert world.refusals == []


def flood(world: World, name: str, *, rate: float, until: float, start: float = 0.0) -> None:
    """Requests for one expert, `rate` a second."""
    for i in range(int((until - start) * rate)):
        world.arrive(start + i / rate, ask(name, request_id=f"{name}-{i}"))


def bound_s(load_s: float, stop_s: float, service_s: float, *, others: int) -> float:
    """As `residency.py` states it."""
    reload_s = max(load_s, 0.6)  # what is assumed of a load that was not measured yet
    stay_s = max(20.0 * reload_s, 2.0)
    leaving_s = service_s + stop_s
    return 28.0 * reload_s + leaving_s + others * (stay_s + leaving_s + reload_s) + 1e-6


def test_those_who_always_leave_somebody_behind_do_not_take_turns_for_ever():
    """Who is left behind came before the newcomer, and counts from when it came, but for the longest stay at most."""
    world = World([local(name, 60) for name in ("a", "b", "new")], 100, load_s=1.0, stop_s=0.1, service_s=1.0)
    for i in range(95):
        for name in "ab":
            world.arrive(0.0, ask(name, request_id=f"{name}{i}"))
    world.arrive(5.0, ask("new", request_id="w"))
    world.run()
    served = {s.request_id: s for s in world.served}
    bound = bound_s(1.0, 0.1, 1.0, others=2)
    assert max(s.at for s in world.served) > 5.0 + 2 * bound  # they are busy for longer
    assert served["w"].wait_s <= bound


def test_who_is_left_behind_does_not_take_the_room_back():
    """A drained victim's waiters are older than the one it made room for."""
    world = World([local("a", 60), local("b", 60)], 100, load_s=1.0, stop_s=0.1, service_s=1.0)
    for i in range(90):
        world.arrive(0.0, ask("a", request_id=f"a{i}"))
    world.arrive(1.0, ask("b", request_id="w"))
    world.run(60.0)
    served = {s.request_id: s for s in world.served}
    assert served["w"].wait_s <= 10.0


def test_bulk_work_gives_way_to_who_waits_for_another_expert():
    world = World([local("a", 60, concurrency=2), local("b", 60)], 100, load_s=1.0, stop_s=0.1, service_s=1.0)
    for i in range(200):
        world.arrive(0.0, structs.replace(ask("a", request_id=f"a{i}"), priority="bulk"))
    world.arrive(30.0, ask("b", request_id="w"))
    world.run(60.0)
    served = {s.request_id: s for s in world.served}
    assert served["w"].wait_s <= 1.0 + 0.1 + 1.0 + 1e-6  # a lease, a stop, a load


def test_bulk_work_does_not_take_the_place_of_who_has_just_been_used():
    world = World([local("a", 60), local("b", 60)], 100, load_s=2.0, stop_s=0.1, service_s=0.5)
    for i in range(30):
        world.arrive(float(i), ask("a", request_id=f"a{i}"))
    world.arrive(5.0, structs.replace(ask("b", request_id="w"), priority="bulk"))
    world.run(60.0)
    assert [name for name, _ in world.loads] == ["a", "b"]
    assert world.loads[1][1] >= 29.0
