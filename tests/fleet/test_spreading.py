"""On which nodes of a cluster the experts of a file may live."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.experts.base import Resources, ServerCommand
from orchestrator.fleet.spreading import NOWHERE, Room, spread
from orchestrator.scheduler.base import NodeMemory, Place, Spread
from orchestrator.scheduler.rules import check_places
from tests.support.launching import Fixed
from tests.support.places import local, persona, remote


def nodes(**budgets: int) -> dict[str, Room]:
    return {name: room(budget) for name, budget in budgets.items()}


def room(budget: int, **resources: float) -> Room:
    return Room(NodeMemory(budget), Resources(**resources))


def kept(name: str, memory_bytes: int | None, on: int = 1, *at: str) -> Place:
    return replace(local(name, memory_bytes, pin=True), spread=Spread(on, None, at))


def at(place: Place, *names: str) -> Place:
    return replace(place, spread=replace(place.spread, nodes=names))


def homes(places: list[Place], nodes: dict[str, Room], **in_memory: tuple[str, ...]) -> dict[str, str]:
    """The nodes of each expert, those that it is pinned on with a star: `{"a": "n1* n2"}`."""
    found: dict[str, list[str]] = {}
    for place in spread(places, nodes, in_memory):
        found.setdefault(place.expert, []).append(place.node + "*" * (place.pin and place.expert == place.host))
    return {name: " ".join(names) for name, names in found.items()}


def test_an_expert_may_live_wherever_it_fits_and_its_persona_with_it():
    places = [local("small", 10), local("large", 50), persona("poet", "large"), remote("gpt")]
    found = homes(places, nodes(n1=20, n2=60))
    assert found == {"small": "n1 n2", "large": "n2", "poet": "n2", "gpt": ""}


def test_what_fits_on_no_node_is_nowhere_and_leaves_the_others_alone():
    places = [local("a", 30), persona("poet", "a"), local("b", 10), kept("c", 40)]
    assert homes(places, nodes(n1=10, n2=20)) == {"a": NOWHERE, "poet": NOWHERE, "b": "n1 n2", "c": NOWHERE}
    assert homes(places, {}) == dict.fromkeys(("a", "poet", "b", "c"), NOWHERE)


def test_a_server_needs_a_node_that_could_ever_give_what_it_asks_for():
    wide = replace(local("a", 10), command=Fixed(ServerCommand(argv=("serve",)), Resources(gpus=2)))
    rooms = {"n1": room(60, gpus=1), "n2": room(20, gpus=2), "n3": room(5, gpus=8)}
    assert homes([wide], rooms) == {"a": "n2"}


def test_pinned_experts_are_kept_where_there_is_most_room_the_largest_first():
    places = [kept("b", 30), kept("a", 50), local("c", 55)]
    assert homes(places, nodes(n1=60, n2=60, n3=60)) == {"a": "n1* n3", "b": "n2* n3", "c": "n3"}


def test_as_many_replicas_are_pinned_as_are_asked_for_or_as_there_are_nodes():
    places = [kept("a", 10, 2)]
    assert homes(places, nodes(n1=60, n2=60, n3=60)) == {"a": "n1* n2* n3"}
    assert homes(places, nodes(n1=60)) == {"a": "n1*"}


def test_pinned_experts_of_unknown_size_are_shared_out():
    assert homes([kept("a", None), kept("b", None)], nodes(n1=60, n2=60)) == {"a": "n1* n2", "b": "n2* n1"}


def test_of_pinned_experts_that_do_not_fit_side_by_side_the_largest_has_the_room():
    assert homes([kept("b", 30), kept("a", 40)], nodes(n1=60)) == {"a": "n1*", "b": NOWHERE}


def test_a_pinned_expert_stays_where_it_is_in_memory():
    places = [kept("a", 10), kept("b", 10)]
    assert homes(places, nodes(n1=60, n2=60), a=("n2",), b=("n2",)) == {"a": "n2* n1", "b": "n2* n1"}


def test_a_pinned_expert_leaves_the_only_node_that_holds_another_to_it():
    assert homes([kept("a", 10), local("b", 60)], nodes(n1=60, n2=20)) == {"a": "n2* n1", "b": "n1"}


def test_an_expert_lives_on_the_nodes_that_are_named_for_it():
    places = [at(local("a", 10), "n2", "n3"), persona("poet", "a"), local("b", 10)]
    found = homes(places, nodes(n1=60, n2=60, n3=60))
    assert found == {"a": "n2 n3", "poet": "n2 n3", "b": "n1 n2 n3"}
    assert homes([kept("a", 10, 1, "n3", "n2")], nodes(n1=60, n2=60, n3=60)) == {"a": "n2* n3"}


def test_replicas_that_are_kept_are_as_many_as_asked_for_though_fewer_nodes_are_named():
    places = [kept("a", 10, 2, "n3")]
    assert homes(places, nodes(n1=60, n2=70, n3=50)) == {"a": "n3* n2*"}


def test_an_expert_whose_nodes_are_gone_or_too_small_lives_anywhere(caplog: pytest.LogCaptureFixture):
    places = [at(local("a", 50), "n3", "n4")]
    assert homes(places, nodes(n1=60, n2=60)) == {"a": "n1 n2"}
    assert homes(places, nodes(n1=60, n2=60, n3=20)) == {"a": "n1 n2"}
    assert homes(places, nodes(n1=60, n3=60)) == {"a": "n3"}
    assert caplog.messages == ["placement: a may live on any node, as none of n3, n4 has room for it"] * 2


@given(
    st.lists(
        st.builds(
            lambda size, on, named: replace(local("", size, pin=on > 0), spread=Spread(on, None, tuple(named))),
            st.none() | st.integers(1, 60),
            st.integers(0, 3),
            st.sets(st.sampled_from(["n0", "n1", "n2"])),
        ),
        max_size=6,
    ),
    st.lists(st.integers(10, 100), min_size=1, max_size=3),
)
def test_the_scheduler_takes_whatever_is_spread(drawn: list[Place], budgets: list[int]):
    places = [replace(place, expert=f"e{i}", host=f"e{i}") for i, place in enumerate(drawn)]
    there = {f"n{i}": room(budget) for i, budget in enumerate(budgets)}
    found = [place for place in spread(places, there) if place.node != NOWHERE]
    check_places(found, {name: each.memory for name, each in there.items()})
    places = [place for place in places if place.expert in {home.expert for home in found}]
    for place in places:
        pinned = [home for home in found if home.expert == place.expert and home.pin]
        assert (place.spread.pinned > 0) == bool(pinned)
        assert len(pinned) <= place.spread.pinned
