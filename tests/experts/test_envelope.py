import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.experts.envelope import as_events, check_answers, decode, encode, is_error, label, read_usage
from orchestrator.types import Usage
from tests.support.json_values import json_values

CHAT = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}


def events_of(block: bytes) -> list[dict]:
    return [json.loads(part.removeprefix(b"data: ")) for part in block.split(b"\n\n") if part]


@given(body=st.dictionaries(st.text(max_size=6) | st.just("model"), json_values, max_size=5), ascii_only=st.booleans())
def test_renaming_the_model_leaves_every_other_value_as_it_was_written(body, ascii_only):
    envelope = decode(json.dumps(body, ensure_ascii=ascii_only).encode())
    written = {name: json.dumps(value, ensure_ascii=ascii_only).encode() for name, value in body.items()}
    envelope["model"] = label('mé"')
    assert json.loads(encode(envelope)) == {**body, "model": 'mé"'}
    assert all(bytes(envelope[name]) == value for name, value in written.items() if name != "model")


def test_an_escaped_key_is_the_models_field_too():
    envelope = decode(rb'{"mod\u0065l": "up"}')
    envelope["model"] = label("me")
    assert encode(envelope) == b'{"model":"me"}'


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b'{"a": 1', b'{"a": 1} x', b"null", b'{"a":' + b"[" * 100_000]
)
def test_what_is_not_one_object_is_refused(body):
    with pytest.raises(ValueError):
        decode(body)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("chat", CHAT),
        ("completion", {"choices": [{"text": ""}]}),
        ("embedding", {"data": [{"embedding": [0.1]}]}),
        ("rerank", {"results": []}),
    ],
)
def test_answers_of_the_right_shape_pass(kind, body):
    check_answers(decode(json.dumps(body).encode()), kind)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("chat", {}),
        ("chat", {"choices": []}),
        ("chat", {"choices": "none"}),
        ("chat", {"choices": [1]}),
        ("chat", {"choices": [{"text": "hi"}]}),
        ("chat", {"choices": [{"message": None}]}),
        ("completion", {"choices": [{"text": 3}]}),
        ("embedding", {"data": {}}),
        ("embedding", {"data": None}),
        ("rerank", {"results": [3]}),
    ],
)
def test_answers_of_another_shape_are_refused(kind, body):
    with pytest.raises(ValueError):
        check_answers(decode(json.dumps(body).encode()), kind)


@pytest.mark.parametrize(
    ("value", "usage"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 5}, Usage(3, 5)),
        ({"prompt_tokens": 3, "completion_tokens": None}, Usage(3, 0)),
        ({"total_tokens": 8}, Usage(8, 0)),
        ({"prompt_tokens": "3", "completion_tokens": -2}, Usage()),
        (None, Usage()),
        ([1], Usage()),
    ],
)
def test_usage_takes_what_is_there(value, usage):
    read = Usage()
    read_usage(msgspec.Raw(json.dumps(value).encode()), read)
    assert read == usage


@pytest.mark.parametrize(
    ("body", "expected"), [({"error": {}}, True), ({"object": "error"}, True), ({"error": None}, False)]
)
def test_errors_are_told_from_answers(body, expected):
    assert is_error(decode(json.dumps(body).encode())) is expected


def test_a_whole_answer_becomes_a_chunk():
    call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    body = {"id": "c", "object": "chat.completion", "choices": [choice], "usage": {"prompt_tokens": 1}}
    first, last = events_of(as_events(decode(json.dumps(body).encode()), "chat", with_usage=True))
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"][0]["delta"]["tool_calls"] == [{"index": 0, **call}]
    assert first["choices"][0]["finish_reason"] == "tool_calls"
    assert "usage" not in first
    assert (last["choices"], last["usage"]) == ([], {"prompt_tokens": 1})


def test_a_whole_completion_becomes_a_chunk():
    body = decode(b'{"id": "c", "choices": [{"index": 0, "text": "hi", "finish_reason": "stop"}]}')
    (only,) = events_of(as_events(body, "completion", with_usage=False))
    assert (only["object"], only["choices"][0]["text"]) == ("text_completion", "hi")
