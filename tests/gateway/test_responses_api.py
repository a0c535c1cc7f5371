import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

from orchestrator.errors import AllExpertsFailed, RateLimited, RequestError
from orchestrator.gateway.errors import translate
from orchestrator.gateway.responses_answer import ResponseEvents, response
from orchestrator.gateway.responses_request import chat_body, parse
from tests.support.chat_chunks import answers, completion_of, piece, streams_of
from tests.support.typed import assert_fits

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
NOT_IN_THE_CLIENT = {"store"}
"""OpenAI's API returns it, its client's types leave it out."""
LS = {"type": "function", "name": "ls", "description": "list", "parameters": SCHEMA, "strict": True}


def chat_of(**fields):
    """The chat body of a valid Responses request, itself checked against the client's types."""
    body = {"model": "auto", "input": "Hi", **fields}
    assert_fits(ResponseCreateParamsNonStreaming, body)
    chat = chat_body(parse(body), body)
    assert_fits(CompletionCreateParamsNonStreaming, chat)
    return chat


def refusal_of(**fields) -> RequestError:
    body = {"model": "auto", "input": "Hi", **fields}
    with pytest.raises(RequestError) as caught:
        chat_body(parse(body), body)
    return caught.value


def messages_of(*items, **fields):
    return chat_of(input=list(items), **fields)["messages"]


def response_of(message, request=None, **choice):
    answer = response(
        completion_of(message, **choice), ResponseEvents(parse({"model": "auto", "input": "Hi", **(request or {})}))
    )
    assert_fits(Response, answer, besides=NOT_IN_THE_CLIENT)
    return answer


def test_plain_request_becomes_a_plain_chat_completion():
    assert chat_of() == {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}


def test_instructions_and_developer_items_become_one_system_message():
    items = [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    assert messages_of(*items, instructions="Be brief.") == [
        {"role": "system", "content": "Be brief.\n\nBe kind."},
        {"role": "user", "content": "Hi"},
    ]


def test_content_parts_are_text_images_and_files():
    parts = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": "data:image/png;base64,QUJD", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"},
    ]
    (message,) = messages_of({"type": "message", "role": "user", "content": parts})
    assert message["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
    ]


def test_tool_loop_keeps_calls_and_results_together():
    said = {"type": "output_text", "text": "Let me look.", "annotations": []}
    items = [
        {"role": "user", "content": "Hi"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [said]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "ls", "arguments": '{"path": "/"}'},
        {"type": "function_call", "id": "fc_2", "call_id": "c2", "name": "pwd", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "bin etc"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "/"}]},
    ]
    user, assistant, first, second = messages_of(*items)
    assert user["content"] == "Hi"
    assert assistant["content"] == "Let me look."
    assert [call["id"] for call in assistant["tool_calls"]] == ["c1", "c2"]
    assert first == {"role": "tool", "tool_call_id": "c1", "content": "bin etc"}
    assert second == {"role": "tool", "tool_call_id": "c2", "content": "/"}


def test_images_of_tools_follow_all_results():
    image = {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"}
    calls = [{"type": "function_call", "call_id": f"c{i}", "name": "shot", "arguments": "{}"} for i in range(2)]
    outputs = [{"type": "function_call_output", "call_id": f"c{i}", "output": [image]} for i in range(2)]
    messages = messages_of({"role": "user", "content": "Look"}, *calls, *outputs)
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert len(messages[-1]["content"]) == 2


def test_function_tools_and_choice_are_nested_the_way_chat_has_them():
    chat = chat_of(tools=[LS], tool_choice={"type": "function", "name": "ls"}, parallel_tool_calls=False)
    function = {"name": "ls", "description": "list", "parameters": SCHEMA, "strict": True}
    assert chat["tools"] == [{"type": "function", "function": function}]
    assert chat["tool_choice"] == {"type": "function", "function": {"name": "ls"}}
    assert chat["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "name": "file", "schema": SCHEMA, "strict": True},
            {"type": "json_schema", "json_schema": {"name": "file", "schema": SCHEMA, "strict": True}},
        ),
    ],
)
def test_text_formats(format, expected):
    assert chat_of(text={"format": format}).get("response_format") == expected


def test_limits_sampling_and_effort():
    chat = chat_of(
        max_output_tokens=50, temperature=0.5, top_p=0.9, user="u", reasoning={"effort": "low"}, service_tier="flex"
    )
    assert {key: chat[key] for key in chat.keys() - {"model", "messages"}} == {
        "max_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "user": "u",
        "reasoning_effort": "low",
        "service_tier": "flex",
    }


def test_nulls_count_as_absent():
    assert chat_of(temperature=None, previous_response_id=None, max_output_tokens=None).keys() == {"model", "messages"}


def test_what_is_said_about_calling_tools_needs_tools():
    assert chat_of(tool_choice="auto", parallel_tool_calls=True).keys() == {"model", "messages"}


def test_unknown_fields_pass_through_and_hints_do_not():
    body = {
        "model": "m",
        "input": "Hi",
        "top_k": 5,
        "switchyard": {"explain": True},
        "prompt_cache_key": "k",
        "store": True,
    }
    chat = chat_body(parse(body), body)
    assert chat.keys() == {"model", "messages", "top_k", "switchyard"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"input": 3}, "input"),
        ({"input": None}, "input"),
        ({"input": [3]}, "input[0]"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"type": "computer_call_output", "call_id": "c"}]}, "input[0].type"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [LS], "tool_choice": {"type": "mcp", "server_label": "x"}}, "tool_choice"),
        (
            {"input": [{"role": "assistant", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content",
        ),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name"),
        ({"input": []}, "input"),
        ({"input": [{"type": "reasoning"}]}, "input"),
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
)
def test_what_the_client_must_mend_is_named(fields, param):
    assert refusal_of(**fields).param == param


def test_refused_tool_is_named():
    assert "web_search" in refusal_of(tools=[LS, {"type": "web_search"}]).message


def test_response_has_reasoning_text_and_calls():
    call = {"id": "c1", "type": "function", "function": {"name": "ls", "arguments": '{"path": "/"}'}}
    answer = response_of(
        {"reasoning_content": "hm", "content": "Look:", "tool_calls": [call]}, finish_reason="tool_calls"
    )
    reasoning, message, function_call = answer["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert message["content"][0]["text"] == "Look:"
    assert (function_call["call_id"], function_call["arguments"]) == ("c1", '{"path": "/"}')
    assert (answer["status"], answer["model"], answer["store"]) == ("completed", "expert", False)
    assert len({item["id"] for item in answer["output"]}) == 3


def test_refusal_is_a_message_of_its_own_content_type():
    answer = response_of({"content": None, "refusal": "No."})
    assert answer["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]


def test_usage_has_its_details():
    assert response_of({"content": "Hi"})["usage"] == {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 0},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 29,
    }


@pytest.mark.parametrize(
    ("finish_reason", "expected"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_cut_off_answer_is_incomplete(finish_reason, expected):
    answer = response_of({"content": "Hi"}, finish_reason=finish_reason)
    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": expected})
    assert answer["output"][0]["status"] == "incomplete"


def test_request_is_echoed():
    asked = {
        "instructions": "Be brief.",
        "metadata": {"ticket": "7"},
        "tools": [{**LS, "strict": None, "description": None}],
        "tool_choice": {"type": "function", "name": "ls"},
        "text": {"format": {"type": "json_schema", "name": "file", "schema": SCHEMA}},
        "temperature": 0.5,
        "max_output_tokens": 9,
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low", "summary": "auto"},
    }
    answer = response_of({"content": "Hi"}, asked)
    echoed = ("instructions", "metadata", "tool_choice", "temperature", "max_output_tokens", "parallel_tool_calls")
    assert {key: answer[key] for key in echoed} == {key: asked[key] for key in echoed}
    assert answer["tools"] == [{"type": "function", "name": "ls", "parameters": SCHEMA, "strict": None}]
    assert answer["text"]["format"]["name"] == "file"


def events_of(chunks, request=None):
    machine = ResponseEvents(parse({"model": "auto", "input": "Hi", **(request or {})}))
    return [*(event for chunk in chunks for event in machine.feed(chunk)), *machine.finish()]


@given(answers(), st.data())
def test_any_split_of_an_answer_streams_to_the_same_output(answer, data):
    events = events_of(data.draw(streams_of(answer)))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] == "response.completed"
    said, done, open_item = {}, [], None
    for event in events[2:-1]:
        name, verb = event["type"].removeprefix("response.").rsplit(".", 1)
        if event["type"] == "response.output_item.added":
            assert open_item is None
            assert event["output_index"] == len(done)
            open_item = event["item"]["id"]
        elif event["type"] == "response.output_item.done":
            assert event["item"]["id"] == open_item
            done.append(event["item"])
            open_item = None
        elif verb == "delta":
            assert event["item_id"] == open_item
            said[open_item] = said.get(open_item, "") + event["delta"]
        elif verb == "done" and name != "content_part":
            assert event["text" if "text" in event else "arguments"] == said.get(open_item, "")
    assert done == events[-1]["response"]["output"]
    whole = response_of(answer)["output"]
    assert [_said(item) for item in done] == [_said(item) for item in whole]


def _said(item):
    if item["type"] == "function_call":
        return item["call_id"], item["name"], json.loads(item["arguments"])
    return item["type"], item["content"]


@given(answers(), st.data())
def test_every_event_is_one_that_openais_client_knows(answer, data):
    for event in events_of(data.draw(streams_of(answer)), {"tools": [LS]}):
        assert_fits(ResponseStreamEvent, event, besides=NOT_IN_THE_CLIENT)


def test_cut_off_stream_ends_incomplete():
    last = events_of([piece({"content": "Hi"}), piece({}, "length")])[-1]
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "incomplete")
    assert_fits(ResponseStreamEvent, last, besides=NOT_IN_THE_CLIENT)


@pytest.mark.parametrize(
    ("error", "code"),
    [(AllExpertsFailed("all failed"), "server_error"), (RateLimited("slow", retry_after_s=1), "rate_limit_exceeded")],
)
def test_broken_stream_fails_with_what_was_said_so_far(error, code):
    machine = ResponseEvents(parse({"model": "auto", "input": "Hi"}))
    before = [*machine.feed(piece({"content": "Hel"}))]
    (failed,) = machine.fail(translate(error))
    assert_fits(ResponseStreamEvent, failed, besides=NOT_IN_THE_CLIENT)
    assert failed["sequence_number"] == len(before)
    assert failed["response"]["error"] == {"code": code, "message": error.message}


def test_failure_before_the_first_chunk_comes_after_created():
    machine = ResponseEvents(parse({"model": "auto", "input": "Hi"}))
    types = [event["type"] for event in machine.fail(translate(AllExpertsFailed("all failed")))]
    assert types == ["response.created", "response.in_progress", "response.failed"]
