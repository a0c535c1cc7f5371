"""Messages and errors, there and back."""

from __future__ import annotations

import inspect
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import errors
from orchestrator.errors import ExpertError, ExpertRejected, NoQuorum, RateLimited, RequestError, SwitchyardError
from orchestrator.scheduler.base import Lease, LeaseOutcome, LeaseRequest, Weighed
from orchestrator.scheduler.remote.wire import (
    FROM_GATEWAY,
    FROM_SCHEDULER,
    LENGTH_BYTES,
    Acquire,
    Granted,
    Held,
    Release,
    encode,
    pack_error,
    unpack_error,
)
from orchestrator.types import Endpoint
from routers.policy import Choice

REQUEST = LeaseRequest("r", (Choice("a", 0.5), Choice("b", -1.0)), 0.01, math.inf, "bulk", "key", "session")
LEASE = Lease(
    "r/1", "a", Endpoint("http://10.0.0.7:1/v1", token="t"), 0.5, Weighed({"a": 1.0, "b": math.inf}, {"b": 2.0})
)


@pytest.mark.parametrize(
    "message",
    [Acquire(1, REQUEST, 2.5), Held((LEASE,)), Release("r/1", LeaseOutcome(ok=None, duration_s=1.0, first_byte_s=0.1))],
    ids=lambda message: type(message).__name__,
)
def test_what_a_gateway_says_arrives_as_it_was(message):
    frame = encode(message)
    assert int.from_bytes(frame[:LENGTH_BYTES], "big") == len(frame) - LENGTH_BYTES
    assert FROM_GATEWAY.decode(frame[LENGTH_BYTES:]) == message


def test_a_lease_arrives_as_it_was_and_its_token_too():
    granted = FROM_SCHEDULER.decode(encode(Granted(1, LEASE))[LENGTH_BYTES:])
    assert granted == Granted(1, LEASE)
    assert granted.lease.endpoint.token == "t"


def test_one_side_does_not_take_what_only_the_other_says():
    with pytest.raises(msgspec.ValidationError):
        FROM_GATEWAY.decode(encode(Granted(1, LEASE))[LENGTH_BYTES:])


ERRORS = [
    ExpertError("a", "not_loaded", "no memory", retry_after_s=2.0, lasting=True),
    ExpertRejected("a", "too long", status=413, code="context_length_exceeded", param="messages"),
    RateLimited("later", retry_after_s=3.5),
    RequestError("no", param="model", code="odd"),
    *(
        kind("why")
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, SwitchyardError) and kind not in {errors.MissingExtra, RateLimited, NoQuorum}
        if not issubclass(kind, ExpertError)
    ),
    errors.MissingExtra("vision", "local"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_arrives_as_what_it_was(error):
    arrived = unpack_error(pack_error(error))
    assert type(arrived) is type(error)
    assert vars(arrived) == vars(error)
    assert (arrived.message, arrived.status, arrived.code) == (error.message, error.status, error.code)


def test_an_error_that_is_not_known_here_arrives_as_what_it_is_derived_from():
    class Newer(RateLimited):
        def __init__(self) -> None:
            super().__init__("later", retry_after_s=1.0)

    arrived = unpack_error(pack_error(Newer()))
    assert type(arrived) is RateLimited
    assert arrived.retry_after_s == 1.0


def test_an_error_that_holds_others_arrives_as_what_it_is_derived_from():
    arrived = unpack_error(
        pack_error(NoQuorum("too few", causes=(RateLimited("later", retry_after_s=1.0),), panel="p"))
    )
    assert type(arrived) is ExpertError
    assert (arrived.expert, arrived.kind) == ("p", "no_quorum")


@given(st.binary(max_size=200))
def test_nonsense_is_nothing_but_unreadable(payload):
    for decoder in (FROM_GATEWAY, FROM_SCHEDULER):
        with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
            decoder.decode(b"\x93\xa7Acquire" + payload + b"\xc1")
