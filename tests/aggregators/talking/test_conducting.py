"""What a conductor says, read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aggregators.talking.conducting import MAX_CALLS, ExpertCall, read_turn

CALL = ExpertCall("Mathematician", "Compute 6 x 7.\nShow each step.")


@pytest.mark.parametrize(
    "text",
    [
        'Expert Mathematician: """\nCompute 6 x 7.\nShow each step.\n"""',
        'Let me ask.\n\n**Expert Mathematician:** """Compute 6 x 7.\nShow each step."""\nI wait.',
        "## Expert Mathematician:\n“Compute 6 x 7.\nShow each step.”",
        'Expert Mathematician:\n"Compute 6 x 7.\nShow each step."\n',
        "Expert Mathematician:\n```text\nCompute 6 x 7.\nShow each step.\n```",
        "Expert Mathematician: Compute 6 x 7.\nShow each step.\n\nThen we go on.",
        'Expert Mathematician: """Compute 6 x 7.\nShow each step.',
        '<think>Expert Poet: """Rhyme."""</think>Expert Mathematician: """Compute 6 x 7.\nShow each step."""',
    ],
)
def test_a_call_in_many_forms(text: str):
    assert read_turn(text).calls == (CALL,)


@pytest.mark.parametrize(
    "text",
    [
        'FINAL ANSWER: """\n42\n"""',
        "Good.\n>> FINAL ANSWER:\n42",
        "**Final answer:** 42",
        'final answer: "42"',
        "FINAL ANSWER: “42”",
    ],
)
def test_an_end_in_many_forms(text: str):
    turn = read_turn(text)
    assert (turn.answer, turn.calls) == ("42", ())


def test_quotation_marks_inside_an_answer_stay():
    assert read_turn('FINAL ANSWER: He said "no" to "42"').answer == 'He said "no" to "42"'


def test_code_in_an_answer_stays():
    assert read_turn("FINAL ANSWER:\n```python\nx = 1\n```").answer == "```python\nx = 1\n```"


def test_several_calls_in_one_turn():
    calls = read_turn('Expert Poet: """Rhyme on blue."""\nExpert Painter: """Mix blue."""').calls
    assert calls == (ExpertCall("Poet", "Rhyme on blue."), ExpertCall("Painter", "Mix blue."))
    assert len(read_turn('Expert Poet: """Rhyme."""\n' * 9).calls) == MAX_CALLS


def test_what_is_made_up_after_a_call_is_dropped():
    turn = read_turn('Expert Poet: """Rhyme on blue."""\nThe expert says: true.\nFINAL ANSWER: true')
    assert (turn.answer, turn.text) == (None, 'Expert Poet: """Rhyme on blue."""')


def test_a_call_after_the_end_does_not_count():
    assert read_turn('FINAL ANSWER: 42\nExpert Poet: """Rhyme."""').calls == ()


@pytest.mark.parametrize(
    "text", ["", "It is 42.", "An expert would say 42.", "Expert advice: none", "FINAL ANSWER:", "EXPERT"]
)
def test_neither_call_nor_end(text: str):
    turn = read_turn(text)
    assert (turn.calls, turn.answer, turn.text) == ((), None, text)


@given(text=st.text(alphabet=st.sampled_from('Expert PoetFINAL ANSWER:"`\n“”x')))
def test_whatever_is_said_is_read(text: str):
    turn = read_turn(text)
    assert turn.text in text
    assert not (turn.calls and turn.answer)
    assert all(call.instructions for call in turn.calls)
