"""What it is worth to have a host in memory, and when that is a reason to swap."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.scheduler.base import LeaseRequest
from orchestrator.scheduler.health import Breaker
from orchestrator.scheduler.meters import Average
from orchestrator.scheduler.state import Expert, Host, Replicas
from orchestrator.scheduler.worth import Worth
from routers.policy import Choice
from tests.support.places import local, persona, remote
from tests.support.world import World

MU = 0.01
SIZE_BYTES = 1_100_000_000


def fleet(**in_memory: bool) -> dict[str, Replicas]:
    """Experts with loads of 10 s, by whether they are in memory."""
    experts = {}
    for name, here in in_memory.items():
        host = Host(local(name, 60), 60, 4, Average(10.0))
        host.enter("ready" if here else "cold")
        experts[name] = (Expert(host.place, host, Breaker()),)
    return experts


def choices(**utilities: float) -> tuple[Choice, ...]:
    return tuple(Choice(name, utility) for name, utility in utilities.items())


def test_a_cold_host_is_worth_what_is_given_up_without_it():
    worth, experts = Worth(), fleet(here=True, away=False)
    worth.note(choices(here=0.5, away=0.6), MU, experts, 0.0)
    assert experts["away"][0].host.worth.at(0.0) == pytest.approx(10.0)  # a tenth, at a hundredth a second
    assert worth.challengers("", 0.0) == [experts["away"][0].host]


def test_a_resident_is_worth_what_the_next_best_in_memory_lacks():
    worth, experts = Worth(), fleet(best=True, second=True, away=False)
    worth.note(choices(best=0.5, second=0.45, away=0.1), MU, experts, 0.0)
    assert experts["best"][0].host.worth.at(0.0) == pytest.approx(5.0)
    assert worth.challengers("", 0.0) == []


def test_nobody_gives_up_more_than_waiting_for_a_load_would_cost():
    worth, experts = Worth(), fleet(here=True, away=False)
    worth.note(choices(here=0.0, away=1.0), 1e-6, experts, 0.0)
    away = experts["away"][0].host
    assert away.worth.at(0.0) == pytest.approx(worth.price_s(away, 0.0))


def test_an_expert_and_its_persona_count_once_for_the_weights_that_they_share():
    worth, experts = Worth(), fleet(here=True, base=False)
    base = experts["base"][0].host
    experts["poet"] = (Expert(persona("poet", "base"), base, Breaker()),)
    worth.note(choices(poet=0.6, base=0.55, here=0.5), MU, experts, 0.0)
    assert base.worth.at(0.0) == pytest.approx(10.0)
    worth.note(choices(poet=0.6, base=0.55), MU, experts, 0.0)  # it has to wait for the load
    assert base.worth.at(0.0) == pytest.approx(10.0 + worth.price_s(base, 0.0))


def test_the_first_request_says_nothing_of_how_many_a_load_would_keep_waiting():
    worth, experts = Worth(), fleet(here=True, away=False)
    away = experts["away"][0].host
    worth.note(choices(here=0.5), MU, experts, 0.0)
    assert worth.disruption_s(away, 0.0) == 0.0
    for second in range(1, 11):
        worth.note(choices(here=0.5), MU, experts, float(second))
    assert worth.disruption_s(away, 10.0) == pytest.approx(0.5 * 10.0**2 * 1.0, rel=0.01)


def test_nobody_who_can_only_be_answered_elsewhere_is_kept_waiting_by_a_load():
    worth, experts = Worth(), fleet(here=True, away=False)
    gone = Host(remote("api"), 0, 4, Average(0.0))
    gone.enter("remote")
    experts["api"] = (Expert(gone.place, gone, Breaker()),)
    for i in range(100):
        worth.note(choices(api=0.5), MU, experts, float(i))
    assert worth.disruption_s(experts["away"][0].host, 100.0) == 0.0


def test_who_is_removed_is_no_challenger():
    worth, experts = Worth(), fleet(here=True, away=False)
    worth.note(choices(here=0.5, away=0.6), MU, experts, 0.0)
    experts["away"][0].host.retired = True
    worth.forget_retired([experts["here"][0].host])
    assert worth.challengers("", 0.0) == []


def test_two_of_a_kind_are_not_both_needed():
    """Without a resident most go to the challenger: little is lost, though each is worth a lot beside the third."""
    worth, experts = Worth(), fleet(here=True, twin=False, other=True)
    for _ in range(10):
        worth.note(choices(here=0.6, twin=0.59, other=0.3), MU, experts, 0.0)
    here, twin = experts["here"][0].host, experts["twin"][0].host
    assert here.worth.at(0.0) == pytest.approx(300.0, rel=0.2)
    assert worth.lost_s(here, twin, 0.0) == pytest.approx(10.0, rel=0.2)


def test_after_an_exchange_the_former_resident_would_gain_what_the_other_has_lost():
    worth, experts = Worth(), fleet(here=True, twin=False)
    worth.note(choices(here=0.6, twin=0.59), MU, experts, 0.0)
    here, twin = experts["here"][0].host, experts["twin"][0].host
    lost_s = worth.lost_s(here, twin, 0.0)
    worth.exchange(twin, [here], 0.0)
    assert here.worth.at(0.0) == pytest.approx(lost_s)
    assert twin.worth.at(0.0) > here.worth.at(0.0)


def ask(number: int, mu: float = 0.003, **utilities: float) -> LeaseRequest:
    return LeaseRequest(f"r{number}", choices(**utilities), mu, deadline=1e9)


def world() -> World:
    """Three experts that answer eight at once; one fits, and from its size about 6 s are expected of a load."""
    places = [replace(local(name, SIZE_BYTES, concurrency=8), batching="together") for name in "abc"]
    return World(places, SIZE_BYTES, load_s=6.0, stop_s=0.0, service_s=2.0)


def test_what_is_asked_for_again_and_again_is_loaded_once():
    machine = world()
    machine.arrive(0.0, ask(0, a=0.6, b=0.5, c=0.1))
    for i in range(1, 600):
        machine.arrive(i / 3, ask(i, a=0.5, b=0.6, c=0.1))
    machine.run()
    assert [name for name, _ in machine.loads] == ["a", "b"]
    assert sum(served.expert == "b" for served in machine.served) > 500


def test_a_single_request_that_would_gain_a_little_does_not_make_the_others_wait():
    machine = world()
    for i in range(300):
        machine.arrive(i / 3, ask(i, a=0.5, b=0.6 if i == 150 else 0.4, c=0.1))
    machine.run()
    assert [name for name, _ in machine.loads] == ["a"]


def test_a_request_that_nobody_in_memory_can_answer_well_waits_for_a_load():
    machine = world()
    for i in range(60):
        machine.arrive(float(i), ask(i, mu=0.0003, a=0.5, b=1.0 if i == 30 else 0.4, c=0.1))
    machine.run()
    assert "b" in {served.expert for served in machine.served if served.request_id == "r30"}


def test_when_demand_drifts_memory_follows():
    machine = world()
    for i in range(900):
        first, second = (0.6, 0.4) if i < 450 else (0.4, 0.6)
        machine.arrive(i / 3, ask(i, a=first, b=second, c=0.1))
    machine.run()
    assert [name for name, _ in machine.loads] == ["a", "b"]


def test_a_free_place_is_filled_with_who_would_be_missed_most():
    places = [local(name, 50, concurrency=8) for name in "abc"]
    machine = World(places, 100, load_s=6.0, stop_s=0.0, service_s=2.0)
    for i in range(20):
        machine.arrive(i / 3, ask(i, a=0.6 if i % 2 else 0.4, b=0.4 if i % 2 else 0.6, c=0.1))
    machine.run()
    assert {name for name, _ in machine.loads} == {"a", "b"}


def test_a_burst_over_residents_spreads_by_batches():
    """Forty at once for two experts of which one is a little better: neither gets a queue while the other idles."""
    places = [replace(local(name, 50, concurrency=8), batching="together") for name in "ab"]
    machine = World(places, 100, load_s=1.0, stop_s=0.0, service_s=2.0)
    machine.arrive(0.0, ask(0, a=0.5))
    machine.arrive(0.0, ask(1, b=0.5))
    for i in range(2, 42):
        machine.arrive(10.0, ask(i, a=0.51, b=0.5))
    machine.run()
    share = [sum(served.expert == name for served in machine.served if served.at >= 10.0) for name in "ab"]
    assert sum(share) == 40
    assert min(share) >= 12
    assert max(served.at for served in machine.served) <= 16.0
