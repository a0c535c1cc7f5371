"""What has changed of a fleet, told to somebody who knows the rest, makes the same of it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduler.base import ExpertStatus, MemoryStatus, Weighed
from orchestrator.scheduler.remote.seen import difference, updated
from orchestrator.scheduler.remote.wire import FROM_SCHEDULER, LENGTH_BYTES, Snapshot, encode

ROW = ExpertStatus("a", "ready", 0, 0, 0.0, "closed", 0, 0)
NAMES = ["a", "b", "c"]
ALWAYS = st.just(NAMES)

seconds = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([0.0, 0.5, float("inf")]))
memory = st.builds(MemoryStatus, st.just(9), st.integers(0, 2), st.just(0), st.just(0))


@st.composite
def snapshots(draw: st.DrawFn, names: st.SearchStrategy[list[str]] = ALWAYS) -> Snapshot:
    rows = tuple(
        replace(ROW, expert=name, node=node, leases=draw(st.integers(0, 2)))
        for name in draw(names)
        for node in ("n1", "n2")
    )
    return Snapshot(rows, draw(memory), Weighed(draw(seconds), draw(seconds)))


@given(snapshots(), snapshots())
def test_what_has_changed_makes_the_new_one_of_the_old_one(before: Snapshot, after: Snapshot) -> None:
    changes = difference(before, after)
    assert changes is not None
    arrived = FROM_SCHEDULER.decode(encode(changes)[LENGTH_BYTES:])
    assert updated(before, arrived) == after


@given(snapshots(st.permutations(NAMES)), snapshots(st.lists(st.sampled_from(NAMES), unique=True)))
def test_other_experts_are_told_whole(before: Snapshot, after: Snapshot) -> None:
    alike = [(each.expert, each.node) for each in before.status] == [(each.expert, each.node) for each in after.status]
    assert (difference(before, after) is not None) == alike or before.status == after.status


def test_where_nothing_has_changed_little_is_told() -> None:
    rows = tuple(replace(ROW, expert=f"expert-{i}") for i in range(1_000))
    snapshot = Snapshot(rows, MemoryStatus(9, 9, 0, 0), Weighed({row.expert: 0.0 for row in rows}, {}))
    changes = difference(snapshot, Snapshot(tuple(rows), snapshot.memory, snapshot.weighed))
    assert changes is not None
    assert len(encode(changes)) < 32
