"""The members rank each other's answers; the one ranked best stands, or a chairman writes from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aggregators.base import Combined
from orchestrator.aggregators.registry import make_aggregator
from orchestrator.aggregators.selecting.council import mean_places, read_ranking
from orchestrator.errors import ExpertError, NoQuorum
from orchestrator.types import Messages
from tests.support.panels import Script, ScriptedTable, make_table

FAILS = ExpertError("c", "timeout", "too late")


def member(answer: str, order: Sequence[str]) -> Callable[[Messages], str]:
    """Answers, and later ranks the answers in this order of their texts."""

    def says(messages: Messages) -> str:
        letters = {text: letter for letter, text in re.findall(r"<answer (\w+) \w+>\n(.*)\n<", messages[-1]["content"])}
        return " > ".join(letters[text] for text in order if text in letters) if letters else answer

    return says


ORDER = ["42", "43", "41", "44", "45"]
HONEST: dict[str, Script] = {
    "a": member("41", ORDER),
    "b": member("42", ORDER),
    "c": member("43", ORDER),
    "d": member("44", ["44", "42", "43", "41", "45"]),
    "e": member("45", ORDER),
}


def seated(members: dict[str, Script], **settings: Any) -> ScriptedTable:
    return make_table({**members, "judge": "Forty-two."}, judge="judge", **settings)


async def council(table: ScriptedTable, **parameters: Any) -> Combined:
    return await make_aggregator("council", parameters=parameters).combine(table)


async def test_the_answer_that_the_others_place_best_stands():
    table = seated(HONEST)
    combined = await council(table)
    assert (combined.text, combined.who) == ("42", ("b",))
    assert combined.why == "b was placed 1.00 of 1 by 5 of 5 rankings"
    assert combined.details["ballots"]["b"] == ["c", "a", "d", "e"]
    assert ("ballots", "b", "c > a > d > e") in [(s.round, s.expert, s.text) for s in table.colleagues.transcript]


async def test_nobody_votes_for_itself():
    scores = (await council(seated(HONEST))).details["scores"]
    assert scores == pytest.approx({"a": 0.5, "b": 1.0, "c": 0.75, "d": 0.25, "e": 0.0})


async def test_a_member_that_was_talked_into_something_has_one_vote():
    bribed = {**HONEST, "a": member("41", ["44", "41", "43", "42", "45"])}
    assert (await council(seated(bribed))).who == ("b",)


@pytest.mark.parametrize("reply", ["", "I can't rank these.", '{"ranking": [', FAILS, None])
async def test_who_ranks_nothing_abstains(reply: Script):
    members = {**HONEST, "e": ["45", reply]}
    combined = await council(seated(members, timeout_s=0.1))  # type: ignore[arg-type]
    assert combined.who == ("b",)
    assert "4 of 5 rankings" in combined.why


async def test_without_any_ranking_the_members_vote():
    combined = await council(seated({"a": "7", "b": "It is 42.", "c": "42"}))
    assert (combined.text, combined.why) == ("It is 42.", "nobody ranked the answers; 2 of 3 agree")


async def test_two_members_are_not_asked_to_rank():
    table = seated({"a": "41", "b": "42"})
    assert (await council(table)).text == "41"
    assert len(table.colleagues.asked) == 2


async def test_the_chairman_sees_the_ranking_and_the_best_answer_stands_if_it_fails():
    combined = await council(seated(HONEST), chairman=True)
    assert combined.final is not None and combined.final.expert == "judge"
    shown = combined.final.messages[-1]["content"]
    best = re.search(r"<answer (\w) \w+>\n42\n<", shown)
    assert best and f"(0.00): {best[1]} (1.00), " in shown
    assert combined.text == "42"


async def test_a_chairman_that_can_hold_nothing_leaves_the_ranking():
    combined = await council(seated({"a": "41", "b": "42"}, context=20), chairman=True)
    assert (combined.text, combined.final) == ("41", None)
    assert combined.why.startswith("judge can't be asked to write it; ")


async def test_one_answer_is_the_answer():
    combined = await council(seated({"a": "42", "b": FAILS, "c": " "}), chairman=True)
    assert (combined.text, combined.final) == ("42", None)


async def test_a_spent_budget_ends_the_ranking():
    table = seated(HONEST, calls=7)
    combined = await council(table)
    assert len(table.colleagues.asked) == 7
    assert "2 of 5 rankings" in combined.why


async def test_a_member_ranks_what_fits_into_its_context():
    members: dict[str, Script] = {**HONEST, "e": "word " * 100_000}
    table = seated(members, context=700)
    await council(table)
    asked = [body["messages"] for _, body in table.colleagues.asked[5:]]
    assert asked and all(table.fits("a", messages, max_tokens=256) for messages in asked)


async def test_no_answers_are_no_quorum():
    with pytest.raises(NoQuorum):
        await council(seated({"a": FAILS, "b": ""}))


@pytest.mark.parametrize(
    ("reply", "ranking"),
    [
        ("B > A > C", "BAC"),
        ("Answer B > Answer A > Answer C", "BAC"),
        ("A is wrong. B, C and A are fine.\nRanking: C > B > A", "CBA"),
        ("FINAL RANKING:\n1. Response C\n2. Response A\n3. Response B", "CAB"),
        ('```json\n["C", "B", "A"', "CBA"),
        ("<think>A > B > C</think> B > C", "BC"),
        ("**B**", "B"),
        ("B > B > Q > A", "BA"),
        ("A good question! I like them all.", ""),
        ("", ""),
    ],
)
def test_rankings_are_read_however_they_are_written(reply: str, ranking: str):
    assert read_ranking(reply, "ABC") == list(ranking)


@given(st.text(), st.permutations("ABCDE"))
def test_a_ranking_at_the_end_is_read_whatever_stands_before_it(before: str, order: list[str]):
    assert read_ranking(f"{before.replace('<think>', '')}\n\n1. {order[0]}\nso: {' > '.join(order)}", "ABCDE") == order


ballots = st.dictionaries(st.sampled_from("abcd"), st.permutations("abcd"), max_size=4).map(
    lambda drawn: {voter: [who for who in order if who != voter][: len(voter + "xx")] for voter, order in drawn.items()}
)


@given(ballots)
def test_places_are_between_0_and_1_and_average_a_half(drawn: dict[str, list[str]]):
    scores = mean_places(drawn, "abcd")
    assert all(0.0 <= score <= 1.0 for score in scores.values())
    assert bool(scores) == bool(drawn)
    if len(drawn) == 4:
        assert sum(scores.values()) == pytest.approx(2.0)


@given(ballots, st.permutations("abcd"))
def test_names_make_no_difference(drawn: dict[str, list[str]], renamed: list[str]):
    new = dict(zip("abcd", renamed, strict=True))
    other = {new[voter]: [new[who] for who in placed] for voter, placed in drawn.items()}
    scores, others = mean_places(drawn, "abcd"), mean_places(other, "abcd")
    assert {new[who]: score for who, score in scores.items()} == pytest.approx(others)


def test_who_is_not_on_a_ballot_shares_the_places_left():
    assert mean_places({"a": ["b"]}, "abcd") == {"a": 0.5, "b": 1.0, "c": 0.25, "d": 0.25}


async def test_a_chairman_that_can_not_give_the_form_that_is_asked_for_leaves_the_ranking():
    members: dict[str, Script] = {"a": '{"n": 42}', "b": '{"n": 42}'}
    table = seated(members, body={"response_format": {"type": "json_object"}}, formless=frozenset({"judge"}))
    assert (await council(table, chairman=True)).final is None
