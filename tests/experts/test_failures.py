import errno
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest

from orchestrator.errors import ExpertRejected
from orchestrator.experts.envelope import decode
from orchestrator.experts.failures import (
    MAX_MESSAGE_CHARS,
    from_envelope,
    from_exception,
    from_response,
    retry_after_s,
    scrub,
)


def failure(status, error=None, **fields):
    body = json.dumps({"error": error} if error is not None else fields).encode()
    return from_response("me", status, {}, body, secrets=("hunter2",))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, "server_error"),
        (401, "unauthorized"),
        (402, "unauthorized"),
        (403, "unauthorized"),
        (404, "server_error"),
        (408, "timeout"),
        (409, "server_error"),
        (425, "server_error"),
        (429, "rate_limited"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "overloaded"),
        (504, "timeout"),
        (529, "overloaded"),
    ],
)
def test_kind_of_each_status(status, kind):
    found = failure(status, {"message": "no"})
    assert found.kind == kind
    assert not isinstance(found, ExpertRejected)


@pytest.mark.parametrize(("status", "retryable"), [(404, False), (409, False), (429, True), (500, True), (503, True)])
def test_what_the_same_expert_would_say_again_is_not_retried_there(status, retryable):
    assert failure(status, {"message": "no"}).retryable is retryable


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_the_client_can_mend_is_a_rejection_in_the_upstreams_words(status):
    found = failure(status, {"message": "n must be 1", "code": "invalid_value", "param": "n"})
    assert isinstance(found, ExpertRejected)
    assert (found.status, found.code, found.param, found.message) == (status, "invalid_value", "n", "n must be 1")


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "too much", "code": "context_length_exceeded"}},
        {"error": {"message": "too much", "type": "exceed_context_size_error", "code": 400}},
        {"error": {"message": "request (900 tokens) exceeds the available context size (512 tokens)"}},
        {"object": "error", "message": "This model's maximum context length is 512 tokens.", "code": 400},
        {"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}},
    ],
)
def test_a_prompt_that_does_not_fit_is_recognised(body):
    found = from_response("me", 400, {}, json.dumps(body).encode(), secrets=())
    assert found.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "plain text"}', "plain text"),
        (b'{"message": "on top", "code": 400}', "on top"),
        (b'{"detail": "by fastapi"}', "by fastapi"),
        (b'{"detail": [{"msg": "field required"}]}', '[{"msg":"field required"}]'),
        (b'[{"error": {"message": "in a list"}}]', "in a list"),
        (b"<html>", "me rejected the request with status 400"),
        (b"", "me rejected the request with status 400"),
        (b"[" * 100_000, "me rejected the request with status 400"),
    ],
)
def test_messages_are_found_in_the_usual_shapes(body, message):
    assert from_response("me", 400, {}, body, secrets=()).message == message


@pytest.mark.parametrize("error", [{"message": "API key not valid."}, {"message": "no", "code": "invalid_api_key"}])
def test_a_bad_key_is_ours_even_when_it_comes_as_400(error):
    assert failure(400, error).kind == "unauthorized"


def test_what_a_provider_says_about_our_key_is_not_repeated():
    assert failure(401, {"message": "Incorrect API key provided: sk-ab***yz"}).message == "me refused our key"


def test_an_error_in_a_200_has_the_kind_its_code_says():
    assert from_envelope("me", decode(b'{"error": {"message": "x", "code": 429}}'), secrets=()).kind == "rate_limited"
    assert from_envelope("me", decode(b'{"error": {"message": "x", "code": null}}'), secrets=()).kind == "server_error"
    rejected = from_envelope("me", decode(b'{"error": {"type": "exceed_context_size_error"}}'), secrets=())
    assert (rejected.status, rejected.code) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "9", "retry-after-ms": "1500"}, 1.5),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers, seconds):
    assert retry_after_s(headers) == seconds


def test_retry_after_as_a_date_in_the_future():
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert retry_after_s({"Retry-After": date}) == pytest.approx(60, abs=2)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("failed at http://10.1.2.3:8080/v1?key=abc now", "failed at [address] now"),
        ("connect 10.1.2.3:8080 or localhost:99", "connect [address] or [address]"),
        ("can't open /srv/models/secret/weights.gguf", "can't open [path]"),
        ("took 0.00.322.734 s", "took 0.00.322.734 s"),
        ("at 10.1.2.3.", "at [address]."),
        (r"can't open C:\models\weights.gguf", "can't open [path]"),
        ("key sk-proj-abcdefgh12345678 is bad", "key [key] is bad"),
        ("sent Bearer abc.def", "sent [key]"),
        ("password hunter2 refused", "password [hidden] refused"),
        ("two\n  lines", "two lines"),
        ("use max_tokens and/or top_p, 5 tokens/s", "use max_tokens and/or top_p, 5 tokens/s"),
    ],
)
def test_messages_are_scrubbed(text, clean):
    assert scrub(text, ("hunter2", "")) == clean


def test_messages_are_short():
    assert len(failure(400, {"message": "x" * 10**6}).message) == MAX_MESSAGE_CHARS


@pytest.mark.parametrize(
    ("exc", "kind"),
    [
        (TimeoutError(), "timeout"),
        (aiohttp.SocketTimeoutError(), "timeout"),
        (aiohttp.ConnectionTimeoutError(), "unreachable"),
        (aiohttp.ClientOSError(errno.ETIMEDOUT, "at http://10.1.2.3"), "unreachable"),
        (aiohttp.ClientOSError(errno.ECONNRESET, "at http://10.1.2.3"), "reset"),
        (aiohttp.ServerDisconnectedError(), "reset"),
        (aiohttp.ClientPayloadError("at http://10.1.2.3"), "reset"),
        (aiohttp.InvalidURL("http://10.1.2.3"), "refused"),
    ],
)
def test_exceptions_have_a_kind_and_no_address(exc, kind):
    found = from_exception("me", exc)
    assert found.kind == kind
    assert "10.1.2.3" not in found.message
