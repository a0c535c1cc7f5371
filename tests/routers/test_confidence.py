"""How sure an expert is of its answer."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routers.confidence import agreement, concentration, mean_probability, yes_share

LOGPROBS = st.lists(st.floats(-20.0, 0.0), min_size=1, max_size=20)


@given(LOGPROBS)
def test_confidences_lie_between_0_and_1(logprobs):
    assert 0.0 <= mean_probability(logprobs) <= 1.0
    assert -1e-9 <= concentration([logprobs]) <= 1.0


@given(LOGPROBS, st.integers(2, 4))
def test_a_longer_answer_of_the_same_tokens_is_as_sure(logprobs, times):
    assert mean_probability(logprobs * times) == pytest.approx(mean_probability(logprobs))


def test_the_mean_is_geometric():
    assert mean_probability([math.log(0.9), math.log(0.4)]) == pytest.approx(math.sqrt(0.36))


def test_dispersion_is_entropy():
    half = math.log(0.5)
    assert concentration([[0.0, -50.0]]) == pytest.approx(1.0)
    assert concentration([[half, half]]) == pytest.approx(1.0 - math.log(2) / math.log(3))
    third = math.log(1 / 3)
    assert concentration([[third, third]]) == pytest.approx(0.0)  # the last third is all other tokens'
    assert concentration([[0.0, -50.0], [third, third]]) == pytest.approx(0.5)


def test_the_others_agree_with_the_first():
    assert agreement(["42", "42", "41"]) == 0.5
    assert agreement(["41", "42", "42"]) == 0.0


def test_yes_is_weighed_against_no_alone():
    said = [("Yes", math.log(0.3)), (" yes", math.log(0.1)), ("NO", math.log(0.1)), ("Maybe", math.log(0.5))]
    assert yes_share(said) == pytest.approx(0.8)


def test_nothing_said_is_nothing_known():
    assert mean_probability([]) is None
    assert concentration([]) is None
    assert agreement(["alone"]) is None
    assert yes_share([("Perhaps", -0.1)]) is None
