"""Numbers as English writes them, read back."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.experts.number_words import literal, ordinal, read_number
from tests.support.spelling import spell


@given(st.integers(0, 10**15 - 1), st.booleans())
def test_spelled_numbers_are_read_back(number: int, with_and: bool):
    words = spell(number, with_and=with_and).replace("-", " ").split()
    assert read_number([*words, "times"]) == (number, len(words))


@given(st.integers(0, 10**12), st.integers(0, 999))
def test_digits_are_read_back_with_and_without_separators(whole: int, thousandths: int):
    expected = whole + Fraction(thousandths, 1000)
    assert literal(f"{whole}.{thousandths:03}") == expected
    assert literal(f"{whole:,}.{thousandths:03}") == expected


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("seventeen hundred", 1700),
        ("a hundred and five thousand", 105_000),
        ("a million", 1_000_000),
        ("2.5 million", 2_500_000),
        ("two and a half million", 2_500_000),
        ("one hundred thousand million", 10**11),
        ("three point one four", Fraction(314, 100)),
        ("point five", Fraction(1, 2)),
        ("three quarters", Fraction(3, 4)),
        ("a third", Fraction(1, 3)),
        ("half", Fraction(1, 2)),
        ("five and three quarters", Fraction(23, 4)),
    ],
)
def test_a_number_is_read_whole(words: str, value: Fraction):
    assert read_number(words.split()) == (value, len(words.split()))


@pytest.mark.parametrize(
    ("words", "value", "length"),
    [
        ("two thousand and three thousand", 2000, 2),
        ("a hundred and five hundred", 100, 2),
        ("five and half of six", 5, 1),
        ("nineteen ninety", 19, 1),
        ("five point", 5, 1),
        ("two three", 2, 1),
    ],
)
def test_a_number_ends_where_the_next_begins(words: str, value: int, length: int):
    assert read_number(words.split()) == (value, length)


@pytest.mark.parametrize("words", ["", "a", "an apple", "point", "and five", "hundred", "007", "1,23", "1e5"])
def test_what_is_no_number_is_none(words: str):
    assert read_number(words.split()) is None


def test_ordinals():
    assert (ordinal("fourth"), ordinal("22nd"), ordinal("four")) == (4, 22, None)
