"""A vote over final answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aggregators.base import Combined, MemberAnswer
from orchestrator.aggregators.vote import Vote, final_answer


async def vote(*texts: str) -> Combined:
    members = [MemberAnswer("abcdef"[i], text) for i, text in enumerate(texts)]
    return await Vote().combine("What?", members)


async def test_the_majority_wins_in_the_words_of_its_first_member():
    combined = await vote("48", "It is 42.", "42")
    assert (combined.text, combined.who, combined.why) == ("It is 42.", ("b", "c"), "2 of 3 agree")


async def test_a_tie_goes_to_the_earlier_member():
    assert (await vote("Paris", "Rome", "Rome.", "paris")).who == ("a", "d")


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
