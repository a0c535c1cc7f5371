"""What answers conclude in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routers.data.answers import final_answer, final_answers


@pytest.mark.parametrize(
    "same",
    [
        [
            "42",
            "42.",
            "42.0",
            "$42",
            " **42** ",
            "x = 42",
            "The answer is 42.",
            "Answer: 42",
            "So\n#### 42",
            r"\boxed{42}",
        ],
        ["1,234.50", "1234.5"],
        ["1/2", "0.5", "The answer is 1/2."],
        ["-7", "Answer: -7"],
        ["18", "$18", "18 dollars", "x = 18.0", "18kg", "18 km"],
        ["6", "6th", "Option 6"],
        ["168000", "168,000", "$168,000"],
        ["1/2", r"\frac{1}{2}", r"\boxed{\frac{1}{2}}", r"\dfrac12", r"$\frac{1}{2}$"],
        [r"2\sqrt{3}", "2*sqrt(3)", "2√3", r"\boxed{2\sqrt{3}}"],
        [r"90^\circ", "90°", "90"],
        ["['a', 'b']", " ['a', 'b'] ", "`['a', 'b']`"],
        ["B", "b", "(B)", "B.", "B) Paris", "Option B", "The correct answer is B. It is the capital.", "**Answer:** B"],
        ["Paris", "paris.", "The Paris", "I thought about it for a very long while, at last:\n\nParis"],
        ["6 x 7 = 42, so the final answer is: 42. Hope this helps!", "42"],
    ],
)
def test_equal_conclusions_are_equal(same: list[str]):
    assert len({final_answer(text) for text in same}) == 1


@pytest.mark.parametrize(
    "different",
    [
        ["42", "-42", "4.2", "420"],
        ["1/2", "12", "2/1"],
        ["A", "B", "AB", "A cat"],
        ["10-12", "1012", "10"],
        ["6", "UA6HAJQ", "{0: 6}", "0006", "[6]"],
        ["camelCase", "camelcase"],
        [r"\sqrt{3}/2", r"\sqrt{3}", "2"],
        [
            "A long text that ends in no short conclusion at all 1.",
            "Another long text that ends in no short conclusion 1.",
        ],
    ],
)
def test_different_conclusions_are_different(different: list[str]):
    assert len({final_answer(text) for text in different}) == len(different)


def test_the_last_mark_counts():
    assert final_answer("The answer is 3? No, wait. The answer is 4.") == "4"


@given(st.integers(-(10**30), 10**30))
def test_a_number_is_itself_however_it_is_wrapped(number: int):
    assert final_answer(f"Therefore the answer is {number}.") == final_answer(f"{number:,}") == str(number)


@given(st.text())
def test_any_text_has_a_final_answer(text: str):
    assert isinstance(final_answer(text), str)


def test_where_one_answer_is_quoted_all_are_taken_to_the_letter():
    assert final_answers(["'CW'", "CW", "cw", " CW", None]) == ["CW", "CW", "cw", " CW", None]
    assert final_answers(["CW", "cw."]) == ["cw", "cw"]


def test_a_number_is_the_same_with_and_without_quotes():
    assert final_answers(["'18'", "$18", "18.0", "018", "'18 '"]) == ["18", "18", "18", "018", "18 "]


def test_a_quoted_nothing_is_an_answer_and_a_blank_one_is_not():
    assert final_answers(["''", '""', "  ", ""]) == ["''", "''", None, None]


def test_a_long_text_beside_a_quoted_answer_says_what_it_concludes():
    reasoned = "First it is reversed, then every second letter is dropped.\nThe answer is 42."
    assert final_answers(["'42'", reasoned]) == ["42", "42"]


@given(st.lists(st.none() | st.text(), max_size=4))
def test_any_texts_have_final_answers(texts: list[str | None]):
    answers = final_answers(texts)
    assert [answer is None for answer in answers] == [text is None or not text.strip() for text in texts]
