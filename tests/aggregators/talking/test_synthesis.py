"""The members' answers, and one expert that writes the final answer from them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from orchestrator.aggregators.base import Combined
from orchestrator.aggregators.registry import make_aggregator
from orchestrator.errors import ConfigError, ExpertError, NoQuorum
from orchestrator.types import Messages
from tests.support.panels import Script, ScriptedTable, make_table

FAILS = ExpertError("b", "timeout", "too late")
MEMBERS: dict[str, Script] = {"a": "It is 42.", "b": "48", "c": "42"}


def seated(members: dict[str, Script] | None = None, **settings: Any) -> ScriptedTable:
    return make_table({**(members or MEMBERS), "judge": "Forty-two."}, judge="judge", **settings)


async def synthesis(table: ScriptedTable, **parameters: Any) -> Combined:
    return await make_aggregator("synthesis", parameters=parameters).combine(table)


def final_messages(combined: Combined) -> Messages:
    assert combined.final is not None
    return combined.final.messages


async def test_the_judge_writes_the_answer_and_the_majority_stands_if_it_fails():
    combined = await synthesis(seated())
    assert combined.final is not None and combined.final.expert == "judge"
    assert (combined.text, combined.who) == ("It is 42.", ("a", "b", "c"))
    assert combined.why == "3 answers were given to judge to write from"


async def test_the_judge_is_told_who_concludes_alike_and_the_dissenter_is_there():
    system, user = (message["content"] for message in final_messages(await synthesis(seated())))
    assert "data" in system
    assert all(f"\n{text}\n" in user for text in MEMBERS.values())
    alone = re.search(r"<answer (\w) \w+>\n48\n", user)
    assert alone and f"67%; {alone[1]}: 33%" in user


async def test_a_dissenter_that_is_stronger_weighs_more():
    combined = await synthesis(seated(expected={"a": 0.55, "b": 0.9, "c": 0.55}))
    assert combined.text == "48"
    assert "85%" in final_messages(combined)[-1]["content"]


async def test_names_of_experts_are_not_told():
    members: dict[str, Script] = {"gpt-large": "42", "tiny": "48"}
    asked = str(final_messages(await synthesis(seated(members))))
    assert "gpt-large" not in asked and "tiny" not in asked


async def test_the_writer_stays_in_the_clients_conversation():
    conversation = [
        {"role": "system", "content": "Answer in French."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Bonjour"},
        {"role": "user", "content": [{"type": "text", "text": "What is 6 x 7?"}]},
    ]
    messages = final_messages(await synthesis(seated(body={"messages": conversation})))
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[0]["content"].startswith("Answer in French.\n\nYou write the final answer")
    assert messages[-1]["content"].endswith("Question: What is 6 x 7?")


async def test_one_answer_is_the_answer():
    combined = await synthesis(seated({"a": "42", "b": FAILS, "c": ""}))
    assert (combined.text, combined.who, combined.final) == ("42", ("a",), None)


async def test_in_a_later_layer_each_sees_what_all_said():
    members: dict[str, Script] = {"a": ["41", "42"], "b": ["43", "42"]}
    table = seated(members, quorum=2)
    combined = await synthesis(table, layers=2)
    later = [body["messages"][-1]["content"] for _, body in table.colleagues.asked[2:]]
    assert len(later) == 2 and all("\n41\n" in shown and "\n43\n" in shown for shown in later)
    assert "\n41\n" not in final_messages(combined)[-1]["content"]
    assert combined.why == "2 answers were given to judge to write from"


@pytest.mark.parametrize("later", [FAILS, None, " "])
async def test_who_fails_in_a_later_layer_is_kept_with_what_it_said_before(later: Any):
    members: dict[str, Script] = {"a": ["41", "42"], "b": ["43", later]}
    asked = final_messages(await synthesis(seated(members, timeout_s=0.1), layers=2))[-1]["content"]
    assert "\n42\n" in asked and "\n43\n" in asked


@pytest.mark.parametrize(("calls", "asked"), [(5, 2), (6, 4), (7, 4)])
async def test_a_later_layer_leaves_a_call_for_the_judge(calls: int, asked: int):
    table = seated({"a": "1", "b": "2"}, calls=calls - 1)
    await synthesis(table, layers=2)
    assert len(table.colleagues.asked) == asked


async def test_answers_are_cut_to_what_the_judge_can_hold():
    combined = await synthesis(seated({"a": "word " * 100_000 + "42", "b": "Es ist 48."}, context=600))
    assert combined.final is not None
    assert "[...]" in combined.final.messages[-1]["content"]


async def test_a_judge_that_can_hold_nothing_leaves_it_to_a_vote():
    combined = await synthesis(seated(context=20))
    assert (combined.text, combined.final) == ("It is 42.", None)
    assert combined.why == "judge can't be asked to write it; 2 of 3 agree"


async def test_no_answers_are_no_quorum():
    with pytest.raises(NoQuorum):
        await synthesis(seated({"a": FAILS, "b": None}, timeout_s=0.05))


def test_there_is_at_least_one_layer():
    with pytest.raises(ConfigError, match="layers"):
        make_aggregator("synthesis", parameters={"layers": 0})


JSON = {"response_format": {"type": "json_object"}}


async def test_a_judge_that_can_not_give_the_form_that_is_asked_for_leaves_it_to_a_vote():
    members: dict[str, Script] = {"a": '{"n": 42}', "b": '{"n": 42}'}
    combined = await synthesis(seated(members, body=JSON, formless=frozenset({"judge"})))
    assert (combined.text, combined.final) == ('{"n": 42}', None)
    assert (await synthesis(seated(members, body=JSON))).final is not None


async def test_a_later_layer_is_asked_for_the_same_form_and_what_lacks_it_is_not_taken():
    members: dict[str, Script] = {"a": ['{"n": 41}', '{"n": 42}'], "b": ['{"n": 42}', "It is 42."]}
    table = seated(members, body=JSON)
    combined = await synthesis(table, layers=2)
    assert all(body["response_format"] == JSON["response_format"] for _, body in table.colleagues.asked)
    assert final_messages(combined)[-1]["content"].count('\n{"n": 42}\n') == 2
