"""Members that discuss, and decide by a protocol."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

import pytest

from orchestrator.aggregators.base import Combined
from orchestrator.aggregators.registry import make_aggregator
from orchestrator.aggregators.talking.decisions import DecisionProtocol
from orchestrator.aggregators.talking.paradigms import Paradigm
from orchestrator.errors import ConfigError, ExpertError, NoQuorum
from orchestrator.types import Messages
from tests.support.panels import Say, ScriptedTable, make_table

FAILED = ExpertError("x", "reset", "broke off")
QUESTION = "Which city is the capital of Australia?"
_ANSWERS = re.compile(r"<answer ([A-Z]) (\w+)>\n(.*?)\n</answer \1 \2>", re.DOTALL)


def is_ballot(messages: Messages) -> bool:
    return messages[0]["role"] == "system" and "You vote" in messages[0]["content"]


def letter_of(messages: Messages, wanted: str) -> str:
    """The letter under which an opinion that mentions `wanted` stands; a word that is no letter where none does."""
    shown = _ANSWERS.findall(messages[-1]["content"])
    return next((label for label, _, text in shown if wanted in text), "none")


def member(
    answer: str, *speeches: Say, votes: str = "Canberra", ballot: Callable[[], Say] | None = None
) -> Callable[[Messages], Say]:
    """Answers the client, then speaks, the last speech again and again, and votes for who mentions `votes`, or as `ballot` says."""
    left = list(speeches)

    def say(messages: Messages) -> Say:
        if is_ballot(messages):
            return ballot() if ballot else letter_of(messages, votes)
        if len(messages) == 1:
            return answer
        return left.pop(0) if len(left) > 1 else (left or [f"Answer: {answer}"])[0]

    return say


async def discuss(table: ScriptedTable, **parameters: Any) -> Combined:
    return await make_aggregator("discussion", parameters=parameters).combine(table)


def capital(**settings: Any) -> ScriptedTable:
    """Two are for Sydney, one for Canberra; all vote for Canberra once they have talked."""
    scripts = {"a": member("Sydney"), "b": member("Sydney."), "c": member("Canberra"), **settings.pop("scripts", {})}
    return make_table({**scripts, "judge": settings.pop("judge", "A")}, judge="judge", question=QUESTION, **settings)


def speeches(table: ScriptedTable, who: str) -> list[str]:
    """What `who` was asked in its turns."""
    asked = (body["messages"] for expert, body in table.colleagues.asked if expert == who)
    return [messages[-1]["content"] for messages in asked if len(messages) == 3]


async def test_who_agree_discuss_nothing():
    table = make_table({"a": "It is 42.", "b": "42"}, question="6 x 7?")
    combined = await discuss(table)
    assert (combined.text, combined.who, combined.why) == ("It is 42.", ("a", "b"), "no discussion: 2 of 2 agree")
    assert len(table.colleagues.asked) == 2


@pytest.mark.parametrize("paradigm", get_args(Paradigm))
@pytest.mark.parametrize("decision", get_args(DecisionProtocol))
async def test_it_ends_as_soon_as_the_protocol_decides(paradigm: str, decision: str):
    table = capital()
    combined = await discuss(table, paradigm=paradigm, decision=decision)
    assert combined.why == f"decided by {decision} after 1 turn; 1 of 3 agree"
    assert (combined.text, combined.who) == ("Canberra", ("c",))
    assert combined.details["turns"] == 1


async def test_who_are_convinced_end_it_without_a_ballot_or_a_writer():
    table = capital(scripts={name: member("Sydney", "You are right. Answer: Canberra") for name in "ab"})
    combined = await discuss(table)
    assert (combined.text, combined.who, combined.final) == ("Canberra", ("a", "b", "c"), None)
    assert not any(is_ballot(body["messages"]) for _, body in table.colleagues.asked)


async def test_without_a_decision_the_last_drafts_are_counted():
    table = capital(scripts={name: member("Sydney", votes="Sydney") for name in "ab"})
    combined = await discuss(table, decision="unanimity", max_turns=2)
    assert combined.why == "no decision by unanimity after 2 turns; 2 of 3 agree"
    assert (combined.text, combined.who) == ("Sydney", ("a", "b"))
    assert len(speeches(table, "a")) == 2


async def test_a_judge_decides_where_that_is_the_protocol():
    table = capital(judge=lambda messages: letter_of(messages, "Canberra"))
    combined = await discuss(table, decision="judge")
    assert (combined.who, combined.details["turns"]) == (("c",), 1)
    assert {who for who, body in table.colleagues.asked if is_ballot(body["messages"])} == {"judge"}


@pytest.mark.parametrize("judge", [FAILED, "", "I'm sorry, I can't.", "{'vote", None, "A", ["A", FAILED]], ids=repr)
async def test_a_judge_that_fails_or_goes_by_the_place_leaves_it_to_the_last_drafts(judge: Any):
    combined = await discuss(capital(judge=judge, timeout_s=0.2), decision="judge", max_turns=1)
    assert combined.why == "no decision by judge after 1 turn; 2 of 3 agree"
    assert combined.text == "Sydney"


async def test_the_dissenter_is_quoted_to_the_writer_with_its_weight():
    table = capital(scripts={name: member("Sydney", votes="Sydney") for name in "ab"})
    combined = await discuss(table)
    assert combined.final is not None
    prompt = combined.final.messages[-1]["content"]
    choice = re.search(r"The group chose what answer ([A-Z]) says", prompt)
    assert choice is not None
    assert letter_of(combined.final.messages, "Sydney") == choice[1]
    assert f"{letter_of(combined.final.messages, 'Canberra')}: 33%" in prompt
    assert combined.final.expert == "judge"


@pytest.mark.parametrize(
    ("paradigm", "heard"),
    [("memory", {"Rome", "Oslo"}), ("report", {"Lima"}), ("relay", {"Rome"}), ("debate", {"Rome", "Oslo"})],
)
async def test_a_paradigm_says_whom_a_member_hears(paradigm: str, heard: set[str]):
    scripts = {name: member(city) for name, city in zip("abc", ("Lima", "Rome", "Oslo"), strict=True)}
    table = make_table(scripts, question="Which?", expected={"a": 0.9, "b": 0.6, "c": 0.5})
    await discuss(table, paradigm=paradigm, max_turns=1)
    who = "a" if paradigm in ("memory", "debate") else "c"
    assert {city for city in ("Lima", "Rome", "Oslo") if city in speeches(table, who)[0]} == heard


async def test_who_report_to_the_moderator_have_spoken_before_it():
    table = capital(scripts={"b": member("Sydney", "It is not Perth. Answer: Sydney")}, expected={"a": 0.9})
    await discuss(table, paradigm="report")
    assert "It is not Perth." in speeches(table, "a")[0]


async def test_no_names_are_told():
    scripts = {"alpha": member("Sydney"), "beta": member("Canberra"), "gamma": member("Perth")}
    table = make_table(scripts, question=QUESTION)
    await discuss(table, decision="unanimity")
    told = " ".join(str(body["messages"]) for _, body in table.colleagues.asked)
    assert not any(name in told for name in scripts)


@pytest.mark.parametrize("failure", [FAILED, "", None])
async def test_who_fails_is_not_asked_again_and_its_words_stay(failure: Say):
    table = capital(scripts={"c": member("Canberra", failure)}, timeout_s=0.2)
    combined = await discuss(table, decision="unanimity", max_turns=2)
    assert combined.who == ("c",)
    assert sum(who == "c" for who, _ in table.colleagues.asked) == 2


@pytest.mark.parametrize("ballot", [FAILED, "", "none of them", "{'vote'", None], ids=repr)
async def test_ballots_that_can_not_be_read_are_not_counted(ballot: Say):
    cities = {"a": "Sydney", "b": "Sydney", "c": "Canberra"}
    scripts = {name: member(city, ballot=lambda: ballot) for name, city in cities.items()}
    combined = await discuss(make_table(scripts, question=QUESTION, timeout_s=0.2), max_turns=1)
    assert (combined.text, combined.details["turns"]) == ("Sydney", 1)


@pytest.mark.parametrize(
    ("calls", "used", "why"), [(9, 3, "the budget has no room"), (10, 9, "decided by majority after 1 turn")]
)
async def test_a_turn_is_held_if_the_budget_has_room_for_its_ballots_and_the_writer(calls: int, used: int, why: str):
    table = capital(calls=calls)
    combined = await discuss(table)
    assert table.budget.num_calls == used
    assert combined.why.startswith(why)


@pytest.mark.parametrize("cents", range(3, 10))
async def test_a_budget_that_runs_out_midway_leaves_an_answer(cents: int):
    table = capital(usd=cents / 100 + 0.001, usd_per_call=0.01)
    combined = await discuss(table)
    assert table.budget.num_calls == cents
    assert combined.text in ("Sydney", "Canberra")


async def test_a_speech_off_the_question_is_left_out_and_noted():
    off = "Tomatoes like warm soil, plenty of compost and regular watering; prune lower leaves early. Answer: tomatoes"
    table = capital(scripts={"a": member("Sydney", off)})
    combined = await discuss(table, decision="unanimity", paradigm="relay")
    assert combined.details["num_drifted"] == 1
    assert combined.details["overlap_by_turn"] == pytest.approx([(0 + 1 / 2 + 1 / 2) / 3])
    assert [said.expert for said in table.colleagues.transcript if said.round == "drift"] == ["a"]
    assert "Tomatoes" not in speeches(table, "b")[0]


async def test_long_texts_are_cut_to_the_context():
    scripts = {
        "a": member("word " * 100_000, "speech " * 100_000),
        "b": member("短い答え。" * 20_000, "Kurz."),
        "c": member("42"),
    }
    table = make_table(scripts, context=300)
    combined = await discuss(table, max_turns=2)
    assert max(len(str(body["messages"]).split()) for _, body in table.colleagues.asked) < 400
    assert combined.text


async def test_when_nobody_answers_there_is_no_discussion():
    with pytest.raises(NoQuorum):
        await discuss(make_table({"a": FAILED, "b": ""}))


@pytest.mark.parametrize(
    ("key", "value"), [("paradigm", "chat"), ("decision", "dice"), ("max_turns", 0), ("max_share", 0)]
)
def test_what_it_can_not_use_is_refused_at_load(key: str, value: object):
    with pytest.raises(ConfigError, match=f"parameter '{key}' of the aggregator 'discussion'"):
        make_aggregator("discussion", parameters={key: value})


@pytest.mark.parametrize(("formless", "who"), [(frozenset({"judge"}), ("b", "c")), (frozenset(), ("a",))])
async def test_no_speech_stands_where_the_answer_is_to_have_a_form(formless: frozenset[str], who: tuple[str, ...]):
    scripts = {
        "a": member('{"city": "Sydney"}', "Answer: Perth", votes="Perth"),
        "b": member('{"city": "Canberra"}', "I stay by it.", votes="Perth"),
        "c": member('{"city": "Canberra"}', "I stay by it.", votes="Perth"),
    }
    body = {"response_format": {"type": "json_object"}}
    combined = await discuss(capital(scripts=scripts, body=body, formless=formless))
    assert (combined.text, combined.who) == ('{"city": "Canberra"}', who)
    assert (combined.final is None) == bool(formless)
