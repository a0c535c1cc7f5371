import json

import pytest
from anthropic.types import ErrorResponse, Message, RawMessageStreamEvent
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from orchestrator.errors import AllExpertsFailed, NoCapacity, RateLimited, RequestError, UnknownModel
from orchestrator.gateway.errors import translate
from orchestrator.gateway.messages_answer import MessageEvents, error_body, message
from orchestrator.gateway.messages_request import chat_body, parse
from tests.support.chat_chunks import answers, completion_of, piece, streams_of
from tests.support.typed import assert_fits

USER = {"role": "user", "content": "Hi"}


def chat_of(**fields):
    """The chat body of a valid Messages request, itself checked against both clients' types."""
    body = {"model": "auto", "max_tokens": 64, "messages": [USER], **fields}
    assert_fits(MessageCreateParamsNonStreaming, body)
    chat = chat_body(parse(body), body)
    assert_fits(CompletionCreateParamsNonStreaming, chat)
    return chat


def refusal_of(**fields) -> RequestError:
    body = {"model": "auto", "max_tokens": 64, "messages": [USER], **fields}
    with pytest.raises(RequestError) as caught:
        chat_body(parse(body), body)
    return caught.value


def turns_of(*messages):
    return chat_of(messages=list(messages))["messages"]


def test_plain_request_becomes_a_plain_chat_completion():
    assert chat_of() == {"model": "auto", "max_tokens": 64, "messages": [USER]}


def test_system_blocks_become_one_system_message():
    blocks = [
        {"type": "text", "text": "Be brief."},
        {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}},
    ]
    assert chat_of(system=blocks)["messages"][0] == {"role": "system", "content": "Be brief.\n\nBe kind."}


def test_images_come_as_data_urls_and_as_urls():
    blocks = [
        {"type": "text", "text": "Compare."},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.png"}},
    ]
    (turn,) = turns_of({"role": "user", "content": blocks})
    assert [part.get("image_url", {}).get("url") for part in turn["content"]] == [
        None,
        "data:image/png;base64,QUJD",
        "https://example.com/cat.png",
    ]


def test_documents_and_search_results_become_text():
    blocks = [
        {
            "type": "document",
            "title": "Notes",
            "source": {"type": "text", "media_type": "text/plain", "data": "one two"},
        },
        {
            "type": "search_result",
            "title": "Page",
            "source": "https://example.com",
            "content": [{"type": "text", "text": "three"}],
        },
    ]
    (turn,) = turns_of({"role": "user", "content": blocks})
    assert turn["content"] == "Notes\none two\n\nPage (https://example.com)\nthree"


def test_pdf_becomes_a_file_part():
    source = {"type": "base64", "media_type": "application/pdf", "data": "QUJD"}
    (turn,) = turns_of({"role": "user", "content": [{"type": "document", "source": source}]})
    assert turn["content"][0]["file"]["file_data"] == "data:application/pdf;base64,QUJD"


def test_tool_loop_keeps_calls_and_results_together():
    use = [
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "t1", "name": "ls", "input": {"path": "/"}},
        {"type": "tool_use", "id": "t2", "name": "pwd", "input": {}},
    ]
    results = [
        {
            "type": "tool_result",
            "tool_use_id": "t1",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        },
        {"type": "tool_result", "tool_use_id": "t2", "content": "no such tool", "is_error": True},
        {"type": "text", "text": "Go on."},
    ]
    user, assistant, first, second, rest = turns_of(
        USER, {"role": "assistant", "content": use}, {"role": "user", "content": results}
    )
    assert user == USER
    assert assistant["content"] == "Let me look."
    assert [(c["id"], json.loads(c["function"]["arguments"])) for c in assistant["tool_calls"]] == [
        ("t1", {"path": "/"}),
        ("t2", {}),
    ]
    assert first == {"role": "tool", "tool_call_id": "t1", "content": "a\n\nb"}
    assert second == {"role": "tool", "tool_call_id": "t2", "content": "Error:\n\nno such tool"}
    assert rest == {"role": "user", "content": "Go on."}


def test_image_in_a_tool_result_moves_to_the_next_user_turn():
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
    use = {"type": "tool_use", "id": "t1", "name": "shot", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "done"}, image]}
    *_, tool, user = turns_of(USER, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]})
    assert tool["content"] == "done"
    assert user["content"] == [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}]


def test_assistant_turn_of_thinking_alone_stays_as_an_empty_one():
    thinking = {"type": "thinking", "thinking": "hm", "signature": "x"}
    assert turns_of(USER, {"role": "assistant", "content": [thinking]})[1] == {"role": "assistant", "content": ""}


def test_tools_keep_name_description_and_schema():
    schema = {"type": "object", "properties": {"path": {"type": "string"}}}
    tool = {"name": "ls", "description": "list", "input_schema": schema, "cache_control": {"type": "ephemeral"}}
    assert chat_of(tools=[tool])["tools"] == [
        {"type": "function", "function": {"name": "ls", "description": "list", "parameters": schema}}
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        (
            {"type": "tool", "name": "ls", "disable_parallel_tool_use": True},
            {"tool_choice": {"type": "function", "function": {"name": "ls"}}, "parallel_tool_calls": False},
        ),
    ],
)
def test_tool_choices(choice, expected):
    chat = chat_of(tool_choice=choice, tools=[{"name": "ls", "input_schema": {"type": "object"}}])
    assert {key: chat[key] for key in ("tool_choice", "parallel_tool_calls") if key in chat} == expected


def test_sampling_and_unknown_fields_pass_through():
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [USER],
        "top_k": 5,
        "temperature": 0.1,
        "switchyard": {"explain": True},
    }
    chat = chat_body(parse(body), body)
    assert (chat["top_k"], chat["temperature"], chat["switchyard"]) == (5, 0.1, {"explain": True})


def test_hints_without_a_counterpart_go_no_further():
    chat = chat_of(
        service_tier="auto", thinking={"type": "enabled", "budget_tokens": 2048}, cache_control={"type": "ephemeral"}
    )
    assert chat.keys() == {"model", "max_tokens", "messages"}


def test_stop_effort_format_and_user_are_renamed():
    schema = {"type": "object", "properties": {}}
    config = {"effort": "low", "format": {"type": "json_schema", "schema": schema}}
    chat = chat_of(stop_sequences=["END"], output_config=config, metadata={"user_id": "u1"})
    assert (chat["stop"], chat["reasoning_effort"], chat["user"]) == (["END"], "low", "u1")
    assert chat["response_format"]["json_schema"]["schema"] == schema


def test_long_user_id_is_hashed_to_what_openai_accepts():
    one, other = (chat_of(metadata={"user_id": c * 150})["user"] for c in "ab")
    assert len(one) == 64
    assert one != other


def test_stream_asks_for_usage():
    body = {"model": "m", "max_tokens": 9, "messages": [USER], "stream": True}
    assert chat_body(parse(body), body)["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, "messages[0].content[0].type"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "ls"}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "ls", "input_schema": {}}], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "t", "name": "ls", "input": {}}]}]},
            "messages[0].content[0].type",
        ),
        ({"mcp_servers": [{"type": "url", "url": "https://example.com", "name": "x"}]}, "mcp_servers"),
    ],
)
def test_what_the_client_must_mend_is_named(fields, param):
    assert refusal_of(**fields).param == param


def test_refused_server_tool_is_named():
    assert "web_search_20250305" in refusal_of(tools=[{"type": "web_search_20250305", "name": "web_search"}]).message


def test_message_has_text_thinking_and_tool_use():
    call = {"id": "t1", "type": "function", "function": {"name": "ls", "arguments": '{"path": "/"}'}}
    answer = message(
        completion_of({"role": "assistant", "reasoning_content": "hm", "content": "Look:", "tool_calls": [call]}), ()
    )
    assert_fits(Message, answer)
    assert answer["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "Look:"},
        {"type": "tool_use", "id": "t1", "name": "ls", "input": {"path": "/"}},
    ]
    assert answer["model"] == "expert"


def test_usage_counts_cached_tokens_apart():
    usage = message(completion_of({"content": "Hi"}), ())["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (15, 5, 9)


@pytest.mark.parametrize(
    ("choice", "said", "expected"),
    [
        ({"finish_reason": "stop"}, {}, ("end_turn", None)),
        ({"finish_reason": None}, {}, ("end_turn", None)),
        ({"finish_reason": "length"}, {}, ("max_tokens", None)),
        ({"finish_reason": "content_filter"}, {}, ("refusal", None)),
        ({"finish_reason": "stop"}, {"content": None, "refusal": "No."}, ("refusal", None)),
        ({"finish_reason": "stop", "stop_reason": "END"}, {}, ("stop_sequence", "END")),
        ({"finish_reason": "stop", "stop_reason": 128001}, {}, ("end_turn", None)),
        (
            {"finish_reason": "stop"},
            {"tool_calls": [{"id": "t1", "function": {"name": "ls", "arguments": ""}}]},
            ("tool_use", None),
        ),
    ],
)
def test_stop_reasons(choice, said, expected):
    answer = message(completion_of({"content": "Hi", **said}, **choice), ["END"])
    assert_fits(Message, answer)
    assert (answer["stop_reason"], answer["stop_sequence"]) == expected


def test_arguments_that_are_no_json_are_the_experts_failure():
    call = {"id": "t1", "function": {"name": "ls", "arguments": '{"path'}}
    with pytest.raises(AllExpertsFailed, match="ls"):
        message(completion_of({"content": None, "tool_calls": [call]}), ())


def test_tool_call_cut_off_by_max_tokens_is_left_out():
    call = {"id": "t1", "function": {"name": "ls", "arguments": '{"path'}}
    answer = message(completion_of({"content": "Hi", "tool_calls": [call]}, finish_reason="length"), ())
    assert (answer["stop_reason"], [block["type"] for block in answer["content"]]) == ("max_tokens", ["text"])


def events_of(chunks):
    machine = MessageEvents(())
    return [*(event for chunk in chunks for event in machine.feed(chunk)), *machine.finish()]


@given(answers(), st.data())
def test_any_split_of_an_answer_streams_to_the_same_blocks(answer, data):
    blocks, open_index = [], None
    for event in events_of(data.draw(streams_of(answer))):
        if event["type"] == "content_block_start":
            assert open_index is None
            assert event["index"] == len(blocks)
            open_index = event["index"]
            blocks.append({"said": "", **event["content_block"]})
        elif event["type"] == "content_block_delta":
            assert event["index"] == open_index
            kind, said = event["delta"].values()
            assert kind == {"text": "text_delta", "thinking": "thinking_delta"}.get(
                blocks[-1]["type"], "input_json_delta"
            )
            blocks[-1]["said"] += said
        elif event["type"] == "content_block_stop":
            assert event["index"] == open_index
            open_index = None
    assert open_index is None
    whole = message(completion_of(answer), ())["content"]
    assert [_said(block) for block in blocks] == [_said(block) for block in whole]


def _said(block):
    if block["type"] == "tool_use":
        return block["id"], block["name"], json.loads(block["said"]) if "said" in block else block["input"]
    return block["type"], block.get("said") or block.get(block["type"])


@given(answers(), st.data())
def test_every_event_is_one_that_anthropics_client_knows(answer, data):
    events = events_of(data.draw(streams_of(answer)))
    assert [event["type"] for event in events[:2]] == ["message_start", "ping"]
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    for event in events:
        if event["type"] != "ping":
            assert_fits(RawMessageStreamEvent, event)
    assert events[-2]["usage"]["input_tokens"] == 15
    assert events[-2]["delta"]["stop_reason"] == ("tool_use" if "tool_calls" in answer else "end_turn")


def test_calls_that_all_have_index_zero_are_told_apart_by_id():
    calls = [{"index": 0, "id": f"t{i}", "function": {"name": "ls", "arguments": f'{{"n": {i}}}'}} for i in range(2)]
    events = events_of([piece({"tool_calls": [call]}) for call in calls])
    starts = [event["content_block"]["id"] for event in events if event["type"] == "content_block_start"]
    assert starts == ["t0", "t1"]


def test_call_without_an_id_gets_one():
    call = {"index": 0, "function": {"name": "ls", "arguments": "{}"}}
    (start,) = [e for e in events_of([piece({"tool_calls": [call]})]) if e["type"] == "content_block_start"]
    assert start["content_block"]["id"].startswith("call_")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RequestError("bad", param="messages"), "invalid_request_error"),
        (UnknownModel("what?"), "not_found_error"),
        (RateLimited("slow down", retry_after_s=1), "rate_limit_error"),
        (NoCapacity("full"), "overloaded_error"),
        (AllExpertsFailed("all"), "api_error"),
    ],
)
def test_errors_have_anthropics_shape(error, kind):
    body = error_body(translate(error), "req_1")
    assert_fits(ErrorResponse, body)
    assert body["error"]["type"] == kind
