"""What every aggregator promises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aggregators.base import MemberAnswer
from orchestrator.aggregators.registry import AGGREGATORS, make_aggregator
from orchestrator.errors import ConfigError

every_aggregator = pytest.mark.parametrize("name", AGGREGATORS)
completions = st.lists(st.tuples(st.text(min_size=1), st.floats(0, 60)), min_size=1, max_size=6).map(
    lambda said: [MemberAnswer(f"m{i}", text, elapsed_s=elapsed_s) for i, (text, elapsed_s) in enumerate(said)]
)


@every_aggregator
@given(members=completions)
async def test_it_rests_on_members_and_says_why(name: str, members: list[MemberAnswer]):
    combined = await make_aggregator(name).combine("What?", members)
    assert combined.who
    assert set(combined.who) <= {member.expert for member in members}
    assert combined.why


@every_aggregator
async def test_one_answer_is_the_answer(name: str):
    combined = await make_aggregator(name).combine("What?", [MemberAnswer("a", "This.")])
    assert (combined.text, combined.who) == ("This.", ("a",))


@every_aggregator
@given(members=completions)
async def test_the_same_answers_give_the_same_result(name: str, members: list[MemberAnswer]):
    aggregator = make_aggregator(name)
    assert await aggregator.combine("What?", members) == await aggregator.combine("What?", members)


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ConfigError, match="'votes' is no aggregator; expected one of first, vote"):
        make_aggregator("votes")


def test_an_answer_is_usable_when_it_says_something():
    said = [MemberAnswer("a", "x"), MemberAnswer("a", " \n"), MemberAnswer("a", "x", error="cut off")]
    assert [member.usable for member in said] == [True, False, False]
