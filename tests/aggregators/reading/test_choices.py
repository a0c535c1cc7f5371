"""The lettered options of a question."""

from __future__ import annotations

from string import ascii_uppercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aggregators.reading.choices import read_choices


@pytest.mark.parametrize(
    "question",
    [
        "Which is a fruit?\nA. brick\nB. pear\nAnswer:",
        "Which is a fruit?\n\n(A) brick\n(B) pear",
        "Choose:\n  A) brick\n  B) pear\n\nSay the letter.",
        "Which is a fruit? (A) brick (B) pear",
        "Which is a fruit? A) brick B) pear",
        "Which of vitamin C. and D. is in fruit?\nA: brick\nB: pear",
        "Which is right?\nA. yes\nB. no\nC. both\n\nNow this one: which is a fruit?\nA. brick\nB. pear",
    ],
)
def test_options_are_read(question: str):
    found = read_choices(question)
    assert found is not None
    assert found.options == ("brick", "pear")


@pytest.mark.parametrize(
    "question",
    [
        "",
        "Which is a fruit?",
        "Plan A. or plan B. then?",
        "These are left\nA. brick\nB. pear",
        "Please summarise the minutes.\nA. brick\nB. pear\nC. car",
        "Which is which? Explain each:\nA. brick\nB. pear\nC. car",
        "Which?\nA. brick",
        "Which?\nB. a\nC. b",
    ],
)
def test_no_options(question: str):
    assert read_choices(question) is None


def test_three_options_end_a_sentence_as_well_as_a_question():
    assert read_choices("A fruit is a\nA. brick\nB. pear\nC. car") is not None


def test_options_change_places_and_letters_stay():
    question = read_choices("Which is a fruit?\n(A) brick\n(B) pear\n(C) car\nSay why.")
    assert question is not None
    assert question.ordered((2, 0, 1)) == "Which is a fruit?\n(A) car\n(B) brick\n(C) pear\nSay why."


options = st.lists(st.text("abc xyz", min_size=1).map(str.strip).filter(bool), min_size=2, max_size=10)


@given(options=options, order=st.randoms())
def test_every_order_holds_the_same_options(options: list[str], order: st.randoms):  # type: ignore[valid-type]
    text = "Which is it?\n" + "\n".join(f"{ascii_uppercase[place]}. {option}" for place, option in enumerate(options))
    question = read_choices(text)
    assert question is not None
    assert question.options == tuple(options)
    assert question.ordered(range(len(options))) == text
    shuffled = list(range(len(options)))
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    again = read_choices(question.ordered(shuffled))
    assert again is not None
    assert again.options == tuple(options[place] for place in shuffled)
