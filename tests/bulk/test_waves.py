"""Whose turn it is: what is open when, that every expert is opened once, and that everybody gets on."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.bulk.waves import Memory, Seen, Ticket, Waves


def look(budget_bytes, sizes, resident=()):
    return lambda: Seen({host: Memory(host in resident, size) for host, size in sizes.items()}, budget_bytes)


def parked(waves, *hosts, asks=()):
    """A query that could ask none of these."""
    ticket = Ticket(frozenset(asks))
    waves.begin(ticket)
    assert not any(waves.take(ticket, host) for host in hosts)
    waves.park(ticket, hosts)
    return ticket


def test_who_is_in_memory_is_asked_before_everything_is_routed():
    waves = Waves()
    warm, cold = parked(waves, "warm"), parked(waves, "cold")
    waves.open(look(2, {"warm": 1, "cold": 1}, resident={"warm"}), settled=False)
    assert waves.due() == [warm]
    waves.open(look(2, {"warm": 1, "cold": 1}, resident={"warm"}), settled=True)
    assert waves.due() == [cold]


def test_as_many_are_open_as_fit_those_first_that_most_want():
    waves = Waves()
    for host, count in {"a": 1, "b": 3, "c": 2}.items():
        for _ in range(count):
            parked(waves, host)
    waves.open(look(2, {"a": 1, "b": 1, "c": 1}), settled=True)
    assert Counter(host for ticket in waves.due() for host in ticket.reserved) == {"b": 3, "c": 2}


def test_who_may_be_asked_later_by_others_comes_last():
    waves = Waves()
    judge_too = parked(waves, "judge")
    member = parked(waves, "member", asks={"member", "judge"})
    waves.open(look(1, {"judge": 1, "member": 1}), settled=True)
    assert waves.due() == [member]
    assert waves.take(member, "member")
    waves.give("member")
    waves.park(member, ["judge"])
    waves.open(look(1, {"judge": 1, "member": 1}), settled=True)
    assert set(waves.due()) == {judge_too, member}


def test_one_whose_size_is_not_known_is_opened_alone():
    waves = Waves()
    first, second = parked(waves, "first"), parked(waves, "second")
    waves.open(look(10, {"first": None, "second": 1}), settled=True)
    assert waves.due() == [first]
    waves.end(first)
    waves.open(look(10, {"first": None, "second": 1}), settled=True)
    assert waves.due() == [second]


def test_those_that_were_loaded_for_it_are_closed_for_others_and_those_that_were_there_are_left():
    waves = Waves()
    warm, cold = parked(waves, "warm"), parked(waves, "cold")
    sizes = {"warm": 1, "cold": 1, "next": 2}
    waves.open(look(2, sizes, resident={"warm"}), settled=True)
    assert set(waves.due()) == {warm, cold}
    waves.end(warm)
    waves.end(cold)
    parked(waves, "next")
    waves.open(look(2, sizes, resident={"warm", "cold"}), settled=True)
    assert (waves.opened, waves.closed) == (["next"], ["cold"])


def test_places_are_limited_and_given_on():
    waves = Waves(at_once=1)
    first, second = Ticket(), Ticket()
    for ticket in (first, second):
        waves.begin(ticket)
    assert waves.take(first, "api", holds_weights=False)
    assert not waves.take(second, "api", holds_weights=False)
    waves.park(second, ["api"])
    assert waves.due() == []
    waves.give("api")
    assert waves.due() == [second]
    assert waves.take(second, "api", holds_weights=False), "its place was kept"


def test_an_expert_that_may_be_on_several_nodes_has_places_for_all_of_them():
    waves = Waves(at_once=1)
    tickets = [parked(waves, "w") for _ in range(3)]
    waves.open(lambda: Seen({"w": Memory(False, 1, replicas=2)}, 2), settled=True)
    assert waves.due() == tickets


def test_who_waits_for_memory_is_not_held_off_by_those_who_come_later():
    waves = Waves()
    sizes = {"busy": 1, "rare": 1}
    parked(waves, "busy")
    waves.open(look(1, sizes), settled=True)
    (first,) = waves.due()
    waiting = parked(waves, "rare")
    waves.open(look(1, sizes), settled=True)
    late = parked(waves, "busy")
    assert waves.due() == [], "busy is open, and would never be closed if everybody were let in"
    assert waves.take(first, "busy")
    waves.give("busy")
    waves.end(first)
    waves.open(look(1, sizes), settled=True)
    assert waves.due() == [waiting]
    waves.end(waiting)
    while waves.stale:
        waves.open(look(1, sizes), settled=True)
    assert waves.due() == [late]


def test_a_query_that_ends_early_leaves_every_queue():
    waves = Waves(at_once=1)
    gone, other = parked(waves, "a", "b"), parked(waves, "a")
    waves.end(gone)
    waves.open(look(1, {"a": 1, "b": 1}), settled=True)
    assert waves.due() == [other]


HOSTS = "abcdef"


STAGES = st.lists(st.sampled_from(HOSTS), min_size=1, max_size=3, unique=True)
SIZES = st.lists(st.integers(1, 4), min_size=9, max_size=9).map(
    lambda sizes: dict(zip(HOSTS + "xyz", sizes, strict=True))
)


def begin(waves, members, judge, left):
    """A query that asks its members in any order, and then a judge if they are several."""
    several = len(members) > 1
    ticket = Ticket(frozenset({*members, judge}) if several else frozenset())
    waves.begin(ticket)
    left[ticket] = [set(members), {judge}] if several else [set(members)]
    go_on(waves, ticket, left)


@given(
    queries=st.lists(STAGES, min_size=1, max_size=30),
    judge=st.sampled_from("xyz"),
    sizes=SIZES,
    places=st.integers(1, 3),
)
def test_members_then_judges_are_opened_once_each_and_all_get_through(queries, judge, sizes, places):
    waves, left = Waves(at_once=places), {}
    for members in queries:
        begin(waves, members, judge, left)
    opened, was_open = Counter(), set()
    while left:
        waves.open(look(4, sizes), settled=True)
        opened.update(set(waves.opened) - was_open)
        was_open = set(waves.opened)
        due = waves.due()
        assert due, "somebody gets on"
        for ticket in due:
            go_on(waves, ticket, left)
    assert set(opened.values()) == {1}


@given(
    queries=st.lists(st.tuples(STAGES, st.sampled_from("abcxyz"), st.integers(0, 3)), min_size=1, max_size=30),
    sizes=SIZES,
    places=st.integers(1, 3),
)
def test_whoever_comes_when_and_judges_whom_gets_through(queries, sizes, places):
    """Queries that begin in the midst of others; the number says after how many rounds."""
    waves, left = Waves(at_once=places), {}
    coming = [(members, judge) for members, judge, pause in queries for _ in range(pause + 1)]
    pauses = [i < pause for _, _, pause in queries for i in range(pause + 1)]
    while coming or left:
        if coming and not pauses.pop(0):
            begin(waves, *coming.pop(0), left)
        elif coming:
            coming.pop(0)
        waves.stale = True
        while waves.stale:
            waves.open(look(4, sizes), settled=True)
        due = waves.due()
        assert due or coming or not left, "somebody gets on"
        for ticket in due:
            go_on(waves, ticket, left)


def go_on(waves, ticket, left):
    """Ask whoever can be asked, members before the judge."""
    while stages := left[ticket]:
        taken = [host for host in sorted(stages[0]) if waves.take(ticket, host)]
        for host in taken:
            waves.give(host)
        stages[0].difference_update(taken)
        if stages[0]:
            waves.park(ticket, stages[0])
            return
        stages.pop(0)
    waves.end(ticket)
    del left[ticket]
