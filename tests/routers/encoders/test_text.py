"""What is seen of a text without reading it."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routers.encoders.text import DEVIATIONS, FEATURES, MEANS, TextFeatures, features


def named(text):
    return dict(zip(FEATURES, features(text), strict=True))


def test_every_feature_has_its_constants():
    assert len(FEATURES) == len(MEANS) == len(DEVIATIONS) == TextFeatures.dimensions - 1
    assert len(set(FEATURES)) == len(FEATURES)
    assert min(DEVIATIONS) >= 0.05


def test_lengths_are_logarithms():
    found = named("one two\nthree")
    assert found["characters"] == pytest.approx(math.log(1 + 13))
    assert found["words"] == pytest.approx(math.log(1 + 3))
    assert found["lines"] == pytest.approx(math.log(1 + 1))


def test_shares_are_roots_of_shares():
    found = named("ab12")
    assert found["lower"] == found["digit"] == pytest.approx(math.sqrt(0.5))
    assert found["upper"] == found["han"] == 0.0


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        ("Which is it?\nA. one\nB. two", "choices"),
        ("def f():\n    return 1", "code"),
        ("Solve $x^2 = 2$ and \\frac{1}{2}", "latex"),
        ("Write a poem", "orders_to_write"),
        ("Find x", "orders_to_solve"),
        ("How many apples?", "questions_of_amount"),
        ("она пошла домой", "cyrillic"),
        ("今日はいい天気", "kana"),
        ("天气很好", "han"),
        ("see https://example.com", "links"),
        ("he saw Paris", "names"),
    ],
)
def test_it_is_seen(text, feature):
    assert named(text)[feature] > 0.0
    assert named("plain words here")[feature] == 0.0


def test_texts_of_a_kind_are_alike():
    sums = ["What is 17 * 23?", "What is 4 + 99?"]
    code = "```python\ndef f(x):\n    return x == 1;\n```"
    one, two, other = TextFeatures().encode([*sums, code])
    assert one @ two > 0.9 > 0.7 > one @ other


@given(st.text(max_size=300))
def test_any_text_has_a_vector_of_length_one(text):
    vector = TextFeatures().encode([text])
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("unit", ["\n", " ", "$", "\n\t", "_", "```", ";  ", "A. ", "\\"])
def test_no_text_takes_long(unit):
    began = time.process_time()
    TextFeatures().encode([unit * 100_000])
    assert time.process_time() - began < 0.25


def test_another_version_is_not_found():
    assert TextFeatures.of("text-0") is None
