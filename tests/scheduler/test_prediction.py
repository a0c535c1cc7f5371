"""What sessions are expected to ask for next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduler.prediction import MEMORY, SESSION_S, Predictor


def run_sessions(predictor: Predictor, count: int, *hosts: str, at: float = 0.0) -> None:
    for number in range(count):
        for step, host in enumerate(hosts):
            predictor.note(host, f"{hosts}-{number}", at + step)


def test_what_followed_before_is_expected_again():
    predictor = Predictor()
    run_sessions(predictor, 9, "coder", "reviewer")
    predictor.note("coder", "new", SESSION_S + 1.5)
    assert predictor.expected(SESSION_S + 2.0) == {"reviewer": pytest.approx(0.9)}


def test_more_sessions_ask_more():
    predictor = Predictor()
    run_sessions(predictor, 9, "coder", "reviewer")
    for number in range(3):
        predictor.note("coder", f"new-{number}", SESSION_S + 1.5)
    assert predictor.expected(SESSION_S + 2.0) == {"reviewer": pytest.approx(2.7)}


def test_one_session_proves_little():
    predictor = Predictor()
    run_sessions(predictor, 1, "coder", "reviewer")
    predictor.note("coder", "new", 2.0)
    assert predictor.expected(3.0) == {"reviewer": 0.5}


def test_requests_without_a_session_predict_nothing():
    predictor = Predictor()
    for _ in range(10):
        predictor.note("a", None, 0.0)
        predictor.note("b", None, 0.0)
    assert predictor.expected(1.0) == {}


def test_a_session_that_is_silent_is_over():
    predictor = Predictor()
    run_sessions(predictor, 9, "coder", "reviewer")
    predictor.note("coder", "new", 10.0)
    assert predictor.expected(10.0 + SESSION_S) == {}


def test_habits_that_change_are_learned_anew():
    predictor = Predictor()
    run_sessions(predictor, 3 * int(MEMORY), "coder", "reviewer")
    run_sessions(predictor, 3 * int(MEMORY), "coder", "tester", at=1000.0)
    predictor.note("coder", "new", 5000.0)
    expected = predictor.expected(5000.0)
    assert expected["tester"] > 0.9
    assert expected.get("reviewer", 0.0) < 0.1


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, "s", "t", "u"]), st.floats(0, 100)), max_size=60)
)
def test_nobody_is_expected_to_ask_more_than_there_are_sessions(noted):
    predictor, now = Predictor(), 0.0
    for host, session, pause in noted:
        now += pause
        predictor.note(host, session, now)
    expected = predictor.expected(now)
    assert sum(expected.values()) <= len({session for _, session, _ in noted if session}) + 1e-9
    assert all(value > 0 for value in expected.values())
