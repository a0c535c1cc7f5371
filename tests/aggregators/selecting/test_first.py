"""The first usable answers to arrive."""

from __future__ import annotations

from orchestrator.aggregators.selecting.first import First
from tests.support.panels import make_table


async def test_the_first_to_arrive_wins_and_nobody_else_is_waited_for():
    table = make_table({"slow": None, "quick": "2"})
    combined = await First().combine(table)
    assert (combined.text, combined.who) == ("2", ("quick",))
    assert table.missing == {"slow": "was not waited for"}
    assert table.colleagues.cancelled == ["slow"]


async def test_it_waits_for_a_quorum():
    table = make_table({"a": "1", "b": "2", "c": None}, quorum=2)
    await First().combine(table)
    assert set(table.missing) == {"c"}
