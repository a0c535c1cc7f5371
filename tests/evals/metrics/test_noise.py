"""Noise: the same every time, different from the text, and as gentle as it says."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.noise import NOISES, flip_rate

QUESTION = """A train leaves at noon. It travels at 60 km/h for 90 minutes.
How far does it get?

A) 60 km
B) 90 km
C) 120 km
Answer:"""

texts = st.one_of(st.text(), st.text(alphabet="ab A)1.?\n"))


@pytest.mark.parametrize("kind", NOISES)
@given(text=texts, seed=st.integers(-5, 5))
def test_the_same_text_and_seed_give_the_same_noise(kind, text, seed):
    assert NOISES[kind](text, seed) == NOISES[kind](text, seed)


@pytest.mark.parametrize("kind", NOISES)
def test_noise_changes_a_question_and_depends_on_the_seed(kind):
    noised = {NOISES[kind](QUESTION, seed) for seed in range(20)}
    assert QUESTION not in noised
    assert len(noised) > 1


def test_noise_is_the_same_on_every_machine():
    assert NOISES["reorder"]("One is first. Two is next. Three?", 3) == "Two is next. Three? One is first."
    assert NOISES["prefix"]("Why?", 3) == "Quick question: Why?"


def test_typos_touch_a_tenth_of_the_words_and_no_numbers():
    text = " ".join(["router", "expert", "reward", "12345", "a"] * 10)
    noised = NOISES["typos"](text, 0).split()
    changed = [(old, new) for old, new in zip(text.split(), noised, strict=True) if old != new]
    assert 1 <= len(changed) <= 3
    assert all(old[0] == new[0] and abs(len(old) - len(new)) <= 1 and old.isalpha() for old, new in changed)


def test_a_text_without_long_words_has_no_typos():
    assert NOISES["typos"]("1 + 1 = ?", 0) == "1 + 1 = ?"


@given(texts, st.integers(0, 5))
def test_case_changes_nothing_but_case(text, seed):
    assert NOISES["case"](text, seed).lower() in {text.lower(), text.upper().lower()}


@given(texts, st.integers(0, 5))
def test_a_prefix_leaves_the_text_whole(text, seed):
    assert NOISES["prefix"](text, seed).endswith(text)


@given(texts, st.integers(0, 5))
def test_reordering_keeps_every_character(text, seed):
    assert Counter(NOISES["reorder"](text, seed)) == Counter(text)


@given(st.integers())
def test_reordering_leaves_choices_and_what_follows_where_they_are(seed):
    noised = NOISES["reorder"](QUESTION, seed % 1_000)
    assert noised.endswith("\n\nA) 60 km\nB) 90 km\nC) 120 km\nAnswer:")
    assert noised != QUESTION


def test_a_single_sentence_stays():
    assert NOISES["reorder"]("How far is it?", 0) == "How far is it?"


def test_the_flip_rate_counts_changed_choices():
    assert flip_rate(np.array([0, 1, 2, 2]), np.array([0, 1, 0, 1])) == 0.5
