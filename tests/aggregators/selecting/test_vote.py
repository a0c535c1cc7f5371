"""A vote over final answers."""

from __future__ import annotations

import pytest

from orchestrator.aggregators.base import Combined
from orchestrator.aggregators.selecting.vote import Vote, log_odds
from tests.support.panels import make_table


async def vote(*texts: str, **expected: float) -> Combined:
    return await Vote().combine(make_table({"abcdef"[i]: text for i, text in enumerate(texts)}, expected=expected))


async def test_the_majority_wins_in_the_words_of_its_first_member():
    combined = await vote("48", "It is 42.", "42")
    assert (combined.text, combined.who, combined.why) == ("It is 42.", ("b", "c"), "2 of 3 agree")


async def test_a_tie_goes_to_the_earlier_member():
    assert (await vote("Paris", "Rome", "Rome.", "paris")).who == ("a", "d")


async def test_a_router_that_knows_better_outvotes_the_majority():
    combined = await vote("42", "48", "48", a=0.95, b=0.55, c=0.6)
    assert (combined.text, combined.why) == ("42", "1 of 3 agree, weighted")


async def test_a_weak_majority_still_counts():
    assert (await vote("42", "48", "The answer is 48.", a=0.6, b=0.6, c=0.7)).text == "The answer is 48."


@pytest.mark.parametrize(("score", "weight"), [(0.5, 0.05), (0.1, 0.05), (0.731058, 1.0), (1.0, 2.944439)])
def test_a_vote_weighs_its_log_odds(score: float, weight: float):
    assert log_odds(score) == pytest.approx(weight, abs=1e-5)
