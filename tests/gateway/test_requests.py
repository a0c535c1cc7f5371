"""What a query says of the request it was made from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gateway.dialogue import CONTEXT_CHARACTERS, TURN_CHARACTERS, read_dialogue
from orchestrator.gateway.requests import new_decision_id
from orchestrator.gateway.validation import Assistant, System, User
from orchestrator.types import Query
from tests.support.gateway import client_of, make_context
from tests.support.pipeline import FakePipeline

PATHS = {"messages": "chat/completions", "prompt": "completions", "input": "embeddings", "documents": "rerank"}


async def query_of(headers: dict[str, str] | None = None, **body: Any) -> Query:
    pipeline = FakePipeline()
    path = next(path for field, path in PATHS.items() if field in body)
    async with client_of(make_context(pipeline)) as client:
        response = await client.post(f"/v1/{path}", json={"model": "auto"} | body, headers=headers)
    assert response.status_code == 200, response.text
    return pipeline.queries[0]


async def chat(*messages: tuple[str, Any], headers: dict[str, str] | None = None, **body: Any) -> Query:
    return await query_of(headers, messages=[{"role": role, "content": content} for role, content in messages], **body)


async def test_the_last_user_turn_is_routed_after_what_came_before():
    query = await chat(("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello!"), ("user", "What is 2 + 2?"))
    assert query.text == "Be brief.\nHi\nHello!\nWhat is 2 + 2?"


async def test_whole_numbers_reach_the_expert_as_such_however_they_were_written():
    query = await query_of(query="heat", documents=["a", "b"], top_n=1.0, score={"at_least": 0.5})
    assert (query.body["top_n"], type(query.body["top_n"])) == (1, int)
    assert query.body["score"] == {"at_least": 0.5}


async def test_tool_results_are_not_routed():
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    messages = [
        {"role": "user", "content": "What is the weather?"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "1", "content": "SUNNY"},
    ]
    query = await query_of(messages=messages)
    assert query.text == "What is the weather?"
    assert query.tool_loop
    assert query.needs == {"tools"}


async def test_a_long_past_gives_way_to_the_question():
    query = await chat(
        ("system", "rules " * 1000), ("user", "old " * 1000), ("assistant", "ok"), ("user", "What is 2 + 2?")
    )
    assert query.text.endswith("\nok\nWhat is 2 + 2?")
    assert query.text.startswith("rules")
    assert "old" not in query.text
    assert len(query.text) <= CONTEXT_CHARACTERS + 10


async def test_a_long_question_keeps_both_ends():
    query = await chat(("user", "Summarise this: " + "x" * 10_000 + " in one word"))
    assert query.text.startswith("Summarise this:")
    assert query.text.endswith("in one word")
    assert len(query.text) <= TURN_CHARACTERS


async def test_content_in_parts():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    query = await chat(("user", [{"type": "text", "text": "What is"}, image, {"type": "text", "text": "this?"}]))
    assert query.text == "What is\nthis?"
    assert query.needs == {"vision"}
    assert query.prompt_tokens > 1000


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        ({}, set()),
        ({"stream": True}, {"streaming"}),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, {"tools"}),
        ({"tools": [], "functions": []}, set()),
        ({"functions": [{"name": "f"}]}, {"tools"}),
        ({"response_format": {"type": "text"}}, set()),
        ({"response_format": {"type": "json_object"}}, {"json_schema"}),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, {"json_schema"}),
        ({"logprobs": True}, {"logprobs"}),
        ({"logprobs": False, "stream": None}, set()),
    ],
)
async def test_needs(body, needs):
    events = FakePipeline(events=[])
    async with client_of(make_context(events)) as client:
        hello = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
        await client.post("/v1/chat/completions", json=hello | body)
    assert events.queries[0].needs == needs


@pytest.mark.parametrize(
    ("body", "max_tokens"),
    [
        ({}, 128),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
    ],
)
async def test_room_for_the_answer(body, max_tokens):
    assert (await chat(("user", "Hello"), **body)).max_tokens == max_tokens


async def test_tools_count_as_prompt():
    tool = {"type": "function", "function": {"name": "f", "description": "word " * 1000}}
    assert (await chat(("user", "Hello"), tools=[tool])).prompt_tokens > 1000


async def test_the_deadline_counts_from_arrival():
    query = await chat(("user", "Hello"))
    assert query.deadline - query.received_at == 300.0


async def test_a_first_turn_opens_a_session_and_continues_none():
    opening = await chat(("system", "Be brief."), ("user", "Hello"))
    assert opening.session is not None
    assert not opening.continues


async def test_a_conversation_keeps_its_session():
    opening = await chat(("user", "Hello"))
    first = ("user", "Hello"), ("assistant", "Hi!"), ("user", "And you?")
    second = (*first, ("assistant", "Fine."), ("user", "Good."))
    session = (await chat(*first)).session
    assert session == opening.session
    assert (await chat(*second)).session == session
    assert (await chat(*second)).continues
    assert (await chat(("user", "Bye"), *first[1:])).session != session


@pytest.mark.parametrize(
    "other",
    [
        {"messages": [{"role": "system", "content": "Be long."}, {"role": "user", "content": "Hello"}]},
        {"user": "someone else"},
        {"safety_identifier": "someone else"},
        {"prompt_cache_key": "something else"},
    ],
)
async def test_who_asks_and_the_system_prompt_tell_conversations_apart(other):
    """Finding 10 of the first review: two end users with the same opening shared a session."""
    same = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}], "user": "u"}
    assert (await query_of(**same)).session == (await query_of(**same)).session
    assert (await query_of(**same | other)).session != (await query_of(**same)).session


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://x.example/cat.png"}, "text": "alt"},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "of tomorrow"},
    ],
)
async def test_every_attachment_needs_an_expert_that_takes_some(part):
    """Finding 16: sound and files reached experts that read text alone."""
    assert (await chat(("user", [{"type": "text", "text": "What is this?"}, part]))).needs == {"vision"}


async def test_a_refusal_is_text():
    refused = [{"type": "refusal", "refusal": "I can't help with that."}]
    query = await chat(("user", "Hello"), ("assistant", refused), ("user", "Why?"))
    assert query.needs == frozenset()
    assert "I can't help with that." in query.text


async def test_results_of_functions_need_tools():
    call = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    messages = [{"role": "user", "content": "Hello"}, {"role": "function", "name": "f", "content": "SUNNY"}]
    assert (await query_of(messages=messages)).needs == {"tools"}
    assert (await query_of(messages=[messages[0], call])).needs == {"tools"}


async def test_all_inputs_and_answers_are_counted_for_the_price():
    many = await query_of(prompt=["a cat sat", "a dog"], n=2, best_of=3)
    assert many.num_answers == 6
    assert many.other_prompt_tokens == (await query_of(prompt="a dog")).prompt_tokens
    assert (await chat(("user", "Hello"), n=3)).num_answers == 3
    texts = await query_of(input=["a cat sat"] * 100)
    assert texts.other_prompt_tokens == 99 * texts.prompt_tokens
    assert (await query_of(query="cats", documents=["one"] * 3)).other_prompt_tokens > 0


async def test_a_session_may_be_named():
    named = await chat(("user", "Hello"), headers={"x-session-id": "s-1"})
    assert (named.session, named.continues) == ("s-1", True)
    assert (await chat(("user", "Hello"), switchyard={"session": "s-2"})).session == "s-2"


async def test_completion_prompts():
    query = await query_of(prompt=["Once upon a time", "word " * 500], max_tokens=9, logprobs=0)
    assert (query.kind, query.text, query.max_tokens) == ("completion", "Once upon a time", 9)
    assert query.prompt_tokens >= 500
    assert query.needs == {"logprobs"}


@pytest.mark.parametrize(("tokens", "count"), [([1, 2, 3], 3), ([[1, 2], [3, 4, 5, 6]], 4)])
async def test_inputs_of_token_ids(tokens, count):
    query = await query_of(input=tokens)
    assert (query.kind, query.prompt_tokens, query.max_tokens, query.text) == ("embedding", count, 0, "")


async def test_each_embedding_input_is_a_prompt_of_its_own():
    one, many = await query_of(input="a cat sat"), await query_of(input=["a cat sat"] * 100)
    assert one.prompt_tokens == many.prompt_tokens


async def test_rerank_pairs_the_query_with_each_document():
    query = await query_of(query="cats", documents=["short", {"text": "long " * 100}])
    assert (query.kind, query.text, query.max_tokens) == ("rerank", "cats", 0)
    assert query.prompt_tokens > 100


def test_decision_ids_sort_by_time():
    ids = [new_decision_id() for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(len(i) == 35 for i in ids)
    assert ids[0][:15] <= ids[-1][:15]


@given(
    st.lists(st.builds(System, st.text()) | st.builds(User, st.text()) | st.builds(Assistant, st.text()), min_size=1)
)
def test_the_routed_text_is_bounded_and_ends_with_the_last_user_turn(messages):
    dialogue = read_dialogue(messages)
    turns = [m.content for m in messages if isinstance(m, User)] or [messages[-1].content]
    assert dialogue.text.endswith(turns[-1])
    assert len(dialogue.text) <= max(CONTEXT_CHARACTERS + len(messages), len(turns[-1]))
