"""Who is tried after a failure: the untried first, then those whose failure may pass, never more than allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ExpertError
from orchestrator.routing.fallback import BACKOFF_CAP_S, Fallback
from routers.policy import Choice

A, B, C = Choice("a", 0.9), Choice("b", 0.5), Choice("c", 0.1)
KINDS = (
    "refused",
    "reset",
    "timeout",
    "rate_limited",
    "overloaded",
    "server_error",
    "unauthorized",
    "malformed",
    "truncated",
)


def failure(expert: str, kind: str = "server_error", retry_after_s: float | None = None) -> ExpertError:
    return ExpertError(expert, kind, "boom", retry_after_s=retry_after_s)


def test_everybody_may_be_tried_at_first():
    fallback = Fallback((A, B), max_attempts=4)
    assert fallback.ready(0.0) == (A, B)
    assert fallback.delay_s(0.0) == 0.0


def test_the_next_best_is_tried_at_once():
    fallback = Fallback((A, B, C), max_attempts=4)
    fallback.failed(failure("a"), 0.0, uniform=0.5)
    assert fallback.ready(0.0) == (B, C)
    assert fallback.delay_s(0.0) == 0.0


def test_a_single_expert_is_tried_again_after_its_back_off():
    fallback = Fallback((A,), max_attempts=4)
    fallback.failed(failure("a"), 10.0, uniform=0.5)
    assert fallback.delay_s(10.0) == 0.125
    assert fallback.ready(10.2) == (A,)


def test_a_timer_that_fires_early_finds_the_soonest_ready():
    """Finding 1 of the first review: uvloop's timers do, and a lease request without candidates was refused."""
    fallback = Fallback((A, B), max_attempts=4)
    fallback.failed(failure("a"), 10.0, uniform=0.9)
    fallback.failed(failure("b"), 10.0, uniform=0.5)
    assert fallback.ready(10.1249) == (B,)
    assert fallback.ready(10.3) == (A, B)


def test_nobody_is_ready_when_it_is_over():
    fallback = Fallback((A,), max_attempts=4)
    fallback.failed(failure("a", "unauthorized"), 0.0, uniform=0.5)
    with pytest.raises(ValueError, match="nobody is left"):
        fallback.ready(0.0)


def test_retry_after_is_respected():
    fallback = Fallback((A,), max_attempts=4)
    fallback.failed(failure("a", "rate_limited", retry_after_s=7.0), 0.0, uniform=0.0)
    assert fallback.delay_s(0.0) == 7.0


def test_a_failure_that_will_not_pass_is_not_tried_again():
    fallback = Fallback((A,), max_attempts=4)
    fallback.failed(failure("a", "unauthorized"), 0.0, uniform=0.5)
    assert fallback.delay_s(0.0) is None


def test_attempts_are_bounded():
    fallback = Fallback((A,), max_attempts=2)
    fallback.failed(failure("a"), 0.0, uniform=0.0)
    assert fallback.delay_s(0.0) == 0.0
    fallback.failed(failure("a"), 0.0, uniform=0.0)
    assert fallback.delay_s(0.0) is None


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.floats(0, 0.999)), max_size=12), st.integers(1, 6))
def test_it_ends_and_nobody_is_tried_before_their_time(failures, max_attempts):
    fallback, now, attempts = Fallback((A, B, C), max_attempts), 0.0, 0
    for kind, uniform in failures:
        delay_s = fallback.delay_s(now)
        if delay_s is None:
            break
        assert 0.0 <= delay_s <= BACKOFF_CAP_S
        now += delay_s
        ready = fallback.ready(now)
        assert ready, "somebody is ready when the delay is over"
        attempts += 1
        fallback.failed(failure(ready[0].expert, kind), now, uniform=uniform)
    assert attempts <= max_attempts
