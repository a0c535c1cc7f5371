"""The first usable answer to arrive."""

from __future__ import annotations

from orchestrator.aggregators.base import MemberAnswer
from orchestrator.aggregators.first import First


async def test_the_first_to_arrive_wins_whatever_the_order_of_the_panel():
    members = [MemberAnswer("slow", "1", elapsed_s=2.0), MemberAnswer("quick", "2", elapsed_s=0.5)]
    combined = await First().combine("What?", members)
    assert (combined.text, combined.who) == ("2", ("quick",))
