"""The pure rules: waits, victims, back-offs, windows."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduler.meters import Average, MinuteWindow
from orchestrator.scheduler.rules import (
    SwitchyardRules,
    assumed_load_s,
    backoff_s,
    concurrency,
    pick_victims,
    queue_wait_s,
    visit_cost_s,
)
from orchestrator.scheduler.state import Host
from orchestrator.scheduler.worth import worth_per_byte
from tests.support.places import local, remote


def host(name: str, memory_bytes: int, *, worth_s: float = 0.0, load_s: float = 1.0, leases: int = 0) -> Host:
    made = Host(local(name, memory_bytes), memory_bytes, 4, Average(load_s))
    made.enter("ready")
    made.leases = leases
    made.worth.add(worth_s, 0.0)
    return made


def names(hosts) -> list[str]:
    return [host.name for host in hosts]


def test_nobody_waits_for_a_free_place():
    assert queue_wait_s(leases=3, ahead=0, limit=4, service_s=2.0) == 0.0
    assert queue_wait_s(leases=30, ahead=10, limit=math.inf, service_s=2.0) == 0.0


def test_waiting_takes_as_many_ends_as_there_are_others_too_many():
    assert queue_wait_s(leases=4, ahead=0, limit=4, service_s=2.0) == 0.5
    assert queue_wait_s(leases=4, ahead=3, limit=4, service_s=2.0) == 2.0


def test_a_load_is_assumed_to_read_its_bytes():
    assert assumed_load_s(400_000_000) == pytest.approx(2.5)


def test_back_offs_double_to_a_minute():
    assert [backoff_s(failures) for failures in (0, 1, 2, 3, 7, 5000)] == [0.0, 1.0, 2.0, 4.0, 60.0, 60.0]


def test_who_stays_serves_for_at_least_four_loads_and_two_seconds():
    for load_s, least_s in ((3.0, 12.0), (0.1, 2.0)):
        resident, wanted = host("a", 1, load_s=load_s, leases=1), host("b", 1)
        resident.since = wanted.wanted_since = 0.0
        assert SwitchyardRules().leaves_at(resident, wanted, 0.0) == least_s


def test_what_was_worth_it_fades():
    assert worth_per_byte(host("a", 10, worth_s=300.0), 300.0) == pytest.approx(30.0 / math.e)


def test_uses_are_counted_per_second():
    used = host("a", 10)
    for _ in range(30):
        used.note_use(7.0)
    assert used.used_at == 7.0
    assert used.use_rate(307.0) == pytest.approx(0.1 / math.e)


def test_who_is_worth_least_goes_first_and_idle_before_busy():
    hosts = [host("busy", 10, leases=1), host("used", 10, worth_s=5.0), host("unused", 10)]
    assert names(sorted(hosts, key=lambda h: SwitchyardRules().eviction_key(h, 0.0))) == ["unused", "used", "busy"]


def test_a_request_costs_less_of_a_visit_the_more_share_the_load():
    visited = host("a", 10, load_s=6.0)
    visited.service_s.add(2.0)
    visited.served = 4
    assert visit_cost_s(visited, reload_s=6.0) == pytest.approx(0.5 + 2 * 6.0 / 4)
    visited.served = 120
    assert visit_cost_s(visited, reload_s=6.0) == pytest.approx(0.5 + 0.1)


def test_who_is_asked_for_by_many_is_loaded_a_little_earlier():
    early, late = host("early", 10, load_s=6.0), host("late", 10, load_s=6.0)
    early.queued, late.queued = 1, 100
    rules = SwitchyardRules()
    assert names(rules.load_order({early: 0.0, late: 15.0}, 30.0)) == ["late", "early"]
    assert names(rules.load_order({early: 0.0, late: 30.0}, 30.0)) == ["early", "late"]


def test_who_only_bulk_work_waits_for_comes_last():
    bulk, asked = host("bulk", 10), host("asked", 10)
    bulk.queued = bulk.queued_bulk = 1000
    asked.queued = 1
    assert names(SwitchyardRules().load_order({bulk: 0.0, asked: 500.0}, 500.0)) == ["asked", "bulk"]


def test_however_many_bulk_work_waits_for_those_that_are_asked_in_person_come_first():
    wanted = {}
    for number in range(40):
        made = host(f"bulk-{number}", 10)
        made.queued = made.queued_bulk = 1
        wanted[made] = float(number)
    early, late = host("early", 10), host("late", 10)
    early.queued, late.queued = 1, 100
    wanted |= {early: 100.0, late: 101.0}
    order = names(SwitchyardRules().load_order(wanted, 110.0))
    assert order[:2] == ["late", "early"]
    assert order[2:] == [f"bulk-{number}" for number in range(40)]


def test_bulk_work_that_is_wanted_for_so_much_longer_comes_first_in_its_turn():
    old, young, asked = host("old", 10), host("young", 10), host("asked", 10)
    old.queued = old.queued_bulk = young.queued = young.queued_bulk = asked.queued = 1
    order = SwitchyardRules().load_order({old: 0.0, young: 200.0, asked: 650.0}, 700.0)
    assert names(order) == ["old", "asked", "young"]


def test_no_more_go_than_are_needed():
    hosts = [host("a", 10), host("b", 10), host("c", 10)]
    assert names(pick_victims(hosts, 5)) == ["a"]
    assert names(pick_victims(hosts, 25)) == ["a", "b", "c"]


def test_no_victim_is_picked_in_vain():
    assert pick_victims([host("a", 10), host("b", 10)], 30) == ()
    assert names(pick_victims([host("small", 10), host("large", 50, worth_s=100.0)], 50)) == ["large"]


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 9)), max_size=8), st.integers(1, 200))
def test_victims_free_enough_with_nobody_to_spare(hosts, short):
    made = [host(f"h{i}", size, worth_s=worth_s) for i, (size, worth_s) in enumerate(hosts)]
    picked = pick_victims(made, short)
    freed = sum(h.memory_bytes for h in picked)
    if sum(h.memory_bytes for h in made) < short:
        assert picked == ()
    else:
        assert freed >= short
        assert all(freed - h.memory_bytes < short for h in picked)


def test_hosts_with_weights_have_a_concurrency_even_if_none_is_given():
    assert concurrency(local("a", 1, concurrency=None)) == 4
    assert concurrency(local("a", 1, concurrency=9)) == 9
    assert concurrency(remote("a")) == math.inf


def test_the_first_sample_replaces_what_was_assumed():
    average = Average(100.0)
    average.add(2.0)
    assert average.value == 2.0
    average.add(7.0)
    assert average.value == 3.0


@given(st.integers(1, 5), st.lists(st.floats(0, 30), min_size=1, max_size=40))
def test_a_minutes_window_never_lets_too_many_through(rpm, pauses):
    window, now, let_through = MinuteWindow(rpm), 0.0, []
    for pause in pauses:
        now += pause
        if window.wait_s(now) <= 0:
            window.add(now)
            let_through.append(now)
    assert all(sum(other <= at < other + 60 for other in let_through) <= rpm for at in let_through)


@pytest.mark.parametrize("at", [0.1 + 0.1 + 0.1, 10.1, 2.1, 1e5 + 0.1])
def test_a_minutes_window_opens_at_the_time_that_it_tells(at):
    """Not the smallest moment earlier or later: its `at + 60` is rounded."""
    window = MinuteWindow(1)
    window.add(at)
    opens_at = at + 60.0
    assert window.wait_s(math.nextafter(opens_at, 0.0)) > 0.0
    assert window.wait_s(opens_at) == 0.0


def test_a_minutes_window_tells_the_wait_of_those_behind_others():
    window = MinuteWindow(2)
    window.add(0.0)
    window.add(10.0)
    assert [window.wait_s(20.0, ahead) for ahead in range(4)] == [40.0, 50.0, 100.0, 110.0]
    assert MinuteWindow(2).wait_s(0.0, ahead=2) == 60.0
