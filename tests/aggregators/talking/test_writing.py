"""The last step of a panel whose answer is written by one expert."""

from __future__ import annotations

import pytest

from orchestrator.aggregators.base import MemberAnswer
from orchestrator.aggregators.reading.quoting import Quoted
from orchestrator.aggregators.selecting.vote import camps
from orchestrator.aggregators.talking.writing import final_by_judge, shares_of_vote, within
from orchestrator.types import Messages
from tests.support.panels import make_table

PROMPT: Messages = [{"role": "system", "content": "Write."}, {"role": "user", "content": "The answers ..."}]


def roles(messages: Messages) -> list[str]:
    return [message["role"] for message in messages]


def test_the_prompt_takes_the_place_of_the_last_turn():
    assert within([{"role": "user", "content": "Hello"}], PROMPT) == PROMPT


def test_a_conversation_that_does_not_end_in_the_users_turn_stays_whole():
    conversation = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    assert roles(within(conversation, PROMPT)) == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("content", ["In French.", [{"type": "text", "text": "In French."}]])
def test_what_the_client_demands_and_the_prompt_are_one_system_message(role: str, content: object):
    messages = within([{"role": role, "content": content}, {"role": "user", "content": "Hello"}], PROMPT)
    assert messages[0] == {"role": "system", "content": "In French.\n\nWrite."}
    assert roles(messages) == ["system", "user"]


def test_pictures_of_the_last_turn_stay():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    last = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]}
    assert within([last], PROMPT)[-1]["content"] == [{"type": "text", "text": "The answers ..."}, picture]


def test_without_any_system_message_there_is_none():
    assert roles(within([], PROMPT[1:])) == ["user"]


def test_the_writer_is_the_judge_or_nobody():
    answers = [MemberAnswer("a", "42"), MemberAnswer("b", "48")]
    for context, expert in ((None, "judge"), (5, None)):
        table = make_table({"a": "x", "b": "y", "judge": "z"}, judge="judge", context=context)
        final = final_by_judge(table, answers, lambda quoted: [{"role": "user", "content": quoted.text}])
        assert (final.expert if final else None) == expert


def test_shares_add_up_by_camp():
    by_label = {"A": MemberAnswer("x", "48"), "B": MemberAnswer("y", "42"), "C": MemberAnswer("z", "It is 42.")}
    quoted = Quoted("...", by_label)
    assert shares_of_vote(quoted, camps(list(by_label.values()), {})) == "B, C: 67%; A: 33%"
