"""How the members of a panel are asked."""

from __future__ import annotations

import asyncio
import time

import pytest

from orchestrator.aggregators.reading.verdicts import shares
from orchestrator.aggregators.table import Table
from orchestrator.errors import ExpertError, NoQuorum, RequestError
from tests.support.panels import make_table

ASKED = [{"role": "user", "content": "Which?"}]


def failure(expert: str) -> ExpertError:
    return ExpertError(expert, "reset", "broke off")


async def texts(table: Table) -> list[str]:
    return [answer.text for answer in await table.answers()]


async def test_all_members_are_asked_the_clients_question_and_answer_in_their_order():
    table = make_table({"a": "1", "b": "2", "c": "3"}, body={"temperature": 0.2, "stream": True, "n": 2})
    assert await texts(table) == ["1", "2", "3"]
    assert [expert for expert, _ in table.colleagues.asked] == ["a", "b", "c"]
    for _, body in table.colleagues.asked:
        assert body == {"messages": [{"role": "user", "content": "What is 6 x 7?"}], "temperature": 0.2}


async def test_who_would_be_served_soonest_is_asked_first():
    table = make_table({"cold": "1", "resident": "2"}, waits={"cold": 9.0})
    assert await texts(table) == ["1", "2"]
    assert [expert for expert, _ in table.colleagues.asked] == ["resident", "cold"]


async def test_what_fails_or_says_nothing_is_missing_and_the_others_go_on():
    table = make_table({"a": failure("a"), "b": "42", "c": "  "})
    assert await texts(table) == ["42"]
    assert table.missing == {"a": "broke off", "c": "it is empty"}


async def test_what_can_not_be_used_is_set_aside_and_is_better_than_nothing():
    refusal = "I'm sorry, but I can't help with that."
    table = make_table({"a": refusal, "b": "42"})
    assert await texts(table) == ["42"]
    assert table.missing == {"a": "it refuses"}
    assert await texts(make_table({"a": refusal})) == [refusal]


async def test_after_the_time_for_a_round_those_who_answered_count():
    table = make_table({"a": "42", "b": None}, timeout_s=0.05)
    assert await texts(table) == ["42"]
    assert table.missing == {"b": "no answer within 0.05 s"}
    assert table.colleagues.cancelled == ["b"]


@pytest.mark.parametrize(
    ("scripts", "quorum", "message"),
    [
        ({"a": failure("a"), "b": ""}, 1, "0 of 2 members answered, and 1 are needed"),
        ({"a": failure("a"), "b": "42", "c": None}, 2, "1 of 3 members answered, and 2 are needed"),
    ],
)
async def test_without_a_quorum_it_fails_and_says_why(scripts, quorum: int, message: str):
    with pytest.raises(NoQuorum, match=message) as caught:
        await make_table(scripts, quorum=quorum, timeout_s=0.05).answers()
    assert "a: broke off" in caught.value.message


async def test_what_the_members_failed_of_is_kept_for_whoever_tells_the_client():
    refused = RequestError("no such field", param="seed")
    with pytest.raises(NoQuorum) as caught:
        await make_table({"a": refused, "b": ""}).answers()
    assert caught.value.causes == (refused, None)


async def test_cancelling_it_cancels_the_members():
    table = make_table({"a": None, "b": None})
    task = asyncio.create_task(table.answers())
    while len(table.colleagues.asked) < 2:  # noqa: ASYNC110  the members tell by having been asked
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert table.colleagues.cancelled == ["a", "b"]


async def test_a_bug_in_asking_is_not_taken_for_a_failed_expert():
    def broken(messages):
        raise ZeroDivisionError

    table = make_table({"a": broken, "b": None})
    with pytest.raises(ZeroDivisionError):
        await table.answers()
    assert table.colleagues.cancelled == ["b"]


async def test_a_spent_budget_is_an_answer_that_is_not_usable():
    table = make_table({"a": "1", "b": "2", "c": "3"}, calls=2)
    assert len(await table.answers()) == 2
    assert list(table.missing.values()) == ["the budget of 2 calls is spent"]
    late = await table.ask("a", ASKED, round="judge")
    assert not late.usable
    assert len(table.colleagues.asked) == 2


async def test_what_all_could_cost_together_stays_within_the_budget():
    table = make_table({"a": "1", "b": "2", "c": "3"}, usd_per_call=0.01, usd=0.025)
    assert len(await table.answers()) == 2
    assert table.budget.spent_usd == pytest.approx(0.02)


async def test_no_round_lasts_longer_than_the_sitting():
    table = make_table({"a": None, "b": "42"}, seconds=0.05)
    began = time.monotonic()
    assert await texts(table) == ["42"]
    assert time.monotonic() - began < 5
    assert not (await table.ask("b", ASKED, round="judge")).usable


async def test_everything_that_is_said_is_in_the_transcript_and_a_waiting_client_is_told():
    table = make_table({"a": "1", "b": "2"}, judge="b", members=["a", "b"])
    await table.answers()
    await table.ask("b", ASKED, round="verdict")
    said = [(each.round, each.expert, each.text) for each in table.colleagues.transcript]
    assert said == [("answers", "a", "1"), ("answers", "b", "2"), ("verdict", "b", "2")]
    assert table.colleagues.progress == ["answers: asking 2", "verdict: asking 1"]


async def test_a_choice_is_read_off_the_first_token_where_the_expert_has_log_probabilities():
    table = make_table({"j": "B because"}, logprobs=frozenset({"j"}))
    assert await table.choose("j", ASKED, ["A", "B"], round="verdict") == {"A": 0.0, "B": 1.0}
    [(_, body)] = table.colleagues.asked
    assert (body["max_tokens"], body["logprobs"]) == (1, True)


@pytest.mark.parametrize(
    ("said", "found"), [("b", "B"), ("**B**", "B"), ("B is better", "B"), ("B) as it is right", "B")]
)
async def test_a_choice_is_read_off_what_is_said_otherwise(said: str, found: str):
    chosen = await make_table({"j": said}).choose("j", ASKED, ["A", "B"], round="verdict")
    assert max(chosen, key=lambda option: chosen[option]) == found


@pytest.mark.parametrize("said", ["Both are fine.", "A judge can't say.", "", failure("j")])
async def test_whoever_chooses_nothing_leaves_no_shares(said):
    assert await make_table({"j": said}).choose("j", ASKED, ["A", "B"], round="verdict") == {}


def test_shares_are_of_the_options_alone():
    assert shares({"yes": -0.1, " No": -0.1, "maybe": -0.01}, ["yes", "no"]) == {"yes": 0.5, "no": 0.5}


async def test_the_length_of_an_answer_is_the_clients_unless_the_question_has_its_own():
    table = make_table({"a": "1"}, body={"max_tokens": 900})
    await table.ask("a", ASKED, round="judge")
    await table.ask("a", ASKED, round="judge", max_tokens=8)
    assert [body["max_tokens"] for _, body in table.colleagues.asked] == [900, 8]
