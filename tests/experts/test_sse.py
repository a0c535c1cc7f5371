import json
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.experts.failures import from_envelope
from orchestrator.experts.sse import DONE, MAX_EVENT_BYTES, ChunkRelay, Framer, data_of
from orchestrator.types import Usage
from tests.support.json_values import json_values
from tests.support.upstream import event

line = st.binary(min_size=1, max_size=8).map(lambda text: b"data:" + text.replace(b"\n", b"").replace(b"\r", b""))


def relay(usage: Usage | None = None, *, hide_usage: bool = True) -> ChunkRelay:
    translate = partial(from_envelope, "me", secrets=())
    return ChunkRelay("me", usage or Usage(), hide_usage=hide_usage, translate=translate)


def chunk(delta=None, finish=None, **fields) -> dict:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c", "model": "up", "choices": choices, **fields}


HELLO = event(chunk({"content": "hello"}))
STOP = event(chunk({}, "stop"))


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: 1\n\ndata: 2\n\n", [b"data: 1", b"data: 2"]),
        (b"data: 1\r\n\r\ndata: 2\r\n\r\n", [b"data: 1", b"data: 2"]),
        (b"data: 1\r\rdata: 2\r\r", [b"data: 1", b"data: 2"]),
        (b"data: 1\n\r\ndata: 2\r\n\n", [b"data: 1", b"data: 2"]),
        (b"\n\n\ndata: 1\n\n\n\n", [b"data: 1"]),
        (b"\xef\xbb\xbfdata: 1\n\n", [b"data: 1"]),
        (b": ping\n\ndata: 1\nid: 7\n\n", [b": ping", b"data: 1\nid: 7"]),
        (b"data: unfinished\n", []),
    ],
)
def test_events_are_cut_at_blank_lines_wherever_the_reads_end(stream, events):
    assert Framer().feed(stream) == events
    framer = Framer()
    assert [found for i in range(len(stream)) for found in framer.feed(stream[i : i + 1])] == events


@given(
    events=st.lists(st.lists(line, min_size=1, max_size=3), max_size=6),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(0, 200)),
)
def test_framing_does_not_depend_on_how_the_stream_was_cut(events, end, cuts):
    stream = b"".join(end.join(lines) + end + end for lines in events)
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    framer = Framer()
    found = [each for a, b in pairwise(bounds) for each in framer.feed(stream[a:b])]
    assert found == [b"\n".join(lines) for lines in events]
    assert framer.num_pending_bytes == 0


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: {}", b"{}"),
        (b"data:{}", b"{}"),
        (b'event: message\ndata: {"a":\ndata:  1}\nid: 3', b'{"a": 1}'),
        (b": comment", b""),
        (b"event: ping", b""),
    ],
)
def test_data_of_an_event(event, data):
    assert data_of(event) == data


@given(
    delta=st.dictionaries(st.text(max_size=5) | st.just("model"), json_values, max_size=3),
    extra=st.dictionaries(st.sampled_from(["id", "system_fingerprint", "x", "nested"]), json_values),
    indent=st.sampled_from([None, 2]),
)
def test_only_the_models_name_changes(delta, extra, indent):
    sent = chunk({**delta, "content": "x"}, **extra)
    block = b"".join(b"data: " + part + b"\n" for part in json.dumps(sent, indent=indent).encode().split(b"\n")) + b"\n"
    passed_on = relay().feed(block)
    assert passed_on.count(b"\n\n") == 1
    assert json.loads(data_of(passed_on.strip())) == {**sent, "model": "me"}


def test_text_that_looks_like_the_models_field_is_not_touched():
    sent = event(
        chunk({"content": 'say {"model":"up"} or \\"model\\":\\"up\\"', "model": "up"}, metadata={"model": "up"})
    )
    assert relay().feed(sent).replace(b" ", b"") == sent.replace(
        b'{"id": "c", "model": "up"', b'{"id":"c","model":"me"'
    ).replace(b" ", b"")


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x"},
        {"content": [{"type": "thinking", "thinking": "x"}]},
        {"tool_calls": [{"index": 0}]},
        {"function_call": {"name": "f"}},
        {"reasoning": "x"},
        {"reasoning_content": "x"},
        {"refusal": "no"},
        {"audio": {"id": "a"}},
    ],
)
def test_content_of_every_kind_begins_the_answer(delta):
    stream = relay()
    stream.feed(event(chunk({"role": "assistant", "content": ""})))
    assert not stream.has_content
    stream.feed(event(chunk(delta)))
    assert stream.has_content


def test_text_and_a_finish_reason_begin_the_answer_too():
    for choice in ({"index": 0, "text": "x"}, {"index": 0, "text": "", "finish_reason": "length"}):
        stream = relay()
        stream.feed(event({"choices": [choice]}))
        assert stream.has_content


def test_usage_nobody_asked_for_is_read_and_taken_out():
    usage = Usage()
    stream = relay(usage)
    counted = event(chunk(usage={"prompt_tokens": 3, "completion_tokens": 5}))
    passed_on = stream.feed(event(chunk({"content": "x"}, usage=None)) + STOP + counted + DONE)
    assert usage == Usage(3, 5)
    assert passed_on.count(b"data:") == 3
    assert b"usage" not in passed_on


def test_usage_that_was_asked_for_is_passed_on():
    usage = Usage()
    counted = event(chunk(usage={"prompt_tokens": 3, "completion_tokens": 5}))
    assert b'"completion_tokens": 5' in relay(usage, hide_usage=False).feed(HELLO + STOP + counted + DONE)
    assert usage == Usage(3, 5)


def test_usage_in_the_last_chunk_with_choices_stays_there():
    usage = Usage()
    last = event(chunk({}, "stop", usage={"prompt_tokens": 3, "completion_tokens": 5}))
    assert b"usage" in relay(usage).feed(HELLO + last)
    assert usage == Usage(3, 5)


def test_a_comment_keeps_the_connection_alive_and_its_text_to_itself():
    assert relay().feed(b": proxied by 10.0.0.7\n\n") == b": keep-alive\n\n"


def test_nothing_is_passed_on_after_done():
    stream = relay()
    assert stream.feed(HELLO + STOP + DONE + HELLO).endswith(DONE)
    assert stream.done


def test_an_error_event_breaks_the_stream_after_what_came_before():
    stream = relay()
    passed_on = stream.feed(HELLO + event({"error": {"message": "at http://10.0.0.7/x", "code": 503}}) + HELLO)
    assert passed_on.count(b"data:") == 1
    assert stream.failure.kind == "overloaded"
    assert "10.0.0.7" not in stream.failure.message


@pytest.mark.parametrize("data", [b"data: {broken\n\n", b"data: [1]\n\n", b'data: {"choices": 3}\n\n', b"data: x\n\n"])
def test_what_is_no_chunk_breaks_the_stream(data):
    stream = relay()
    stream.feed(data)
    assert stream.failure.kind == "malformed"


def test_a_forgotten_done_is_added_after_a_finish_reason():
    stream = relay()
    stream.feed(HELLO + STOP)
    assert stream.end() == DONE
    assert stream.failure is None


def test_every_choice_must_have_ended():
    stream = relay()
    choices = [{"index": i, "delta": {"content": "x"}, "finish_reason": None} for i in range(2)]
    stream.feed(event({"choices": choices}) + event({"choices": [{**choices[0], "finish_reason": "stop"}]}))
    assert not stream.finished
    stream.feed(event({"choices": [{**choices[1], "finish_reason": "stop"}]}))
    assert stream.finished


def test_a_last_event_without_its_blank_line_counts():
    stream = relay()
    stream.feed(HELLO + STOP + b"data: [DONE]")
    assert stream.end() == DONE


@pytest.mark.parametrize("rest", [b"", b'data: {"choices": [{"index'])
def test_a_stream_without_its_end_is_truncated(rest):
    stream = relay()
    stream.feed(HELLO + rest)
    assert stream.end() == b""
    assert stream.failure.kind == "truncated"


def test_done_before_any_content_is_a_failure():
    stream = relay()
    assert stream.feed(event(chunk({"role": "assistant"})) + DONE).count(b"data:") == 1
    assert stream.failure.kind == "truncated"


def test_an_endless_event_is_refused():
    stream = relay()
    piece = b"x" * 2**20
    for _ in range(MAX_EVENT_BYTES // len(piece) + 1):
        assert stream.failure is None
        stream.feed(piece)
    assert stream.failure.kind == "malformed"
