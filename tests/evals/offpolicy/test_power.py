"""How many decisions a difference needs: by formula, by simulation, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.offpolicy.estimators import interval
from evals.offpolicy.power import decisions_needed, power


def test_as_in_the_textbook():
    """(1.95996 + 0.84162)^2 * (0.5 / 0.05)^2 = 784.9 (Cohen 1988)."""
    differences = np.array([0.5, -0.5] * 500) * math.sqrt(999 / 1000)
    assert decisions_needed(differences, 0.05) == 785


def test_as_many_as_needed_find_the_difference_four_times_of_five():
    dice = np.random.default_rng(0)
    needed = decisions_needed(dice.normal(size=10_000), 0.2)
    found = [interval(dice.normal(0.2, size=needed)).low > 0 for _ in range(2_000)]
    assert 0.77 <= np.mean(found) <= 0.83


@given(st.integers(10, 200), st.floats(0.01, 1.0), st.floats(0.1, 0.95))
def test_power_and_decisions_needed_are_inverse(n, difference, wanted):
    differences = np.resize([0.3, -0.3], n)
    needed = decisions_needed(differences, difference, wanted)
    deviation_as_now = np.resize(differences, needed) * (
        differences.std(ddof=1) / np.resize(differences, needed).std(ddof=1)
    )
    assert power(deviation_as_now, difference) >= wanted - 1e-9


def test_more_decisions_are_needed_for_less():
    differences = np.random.default_rng(0).normal(size=100)
    assert decisions_needed(differences, 0.005) > decisions_needed(differences, 0.01)
    assert decisions_needed(differences, power=0.9) > decisions_needed(differences, power=0.8)
    assert power(differences, 0.5) > power(differences, 0.1) > 0.05


def test_where_nothing_varies_everything_shows():
    assert power(np.zeros(5)) == 1.0
    assert decisions_needed(np.zeros(5)) == 2


@pytest.mark.parametrize(
    ("difference", "wanted"), [(0.0, 0.8), (-1.0, 0.8), (0.1, 0.0), (0.1, 1.0), (float("nan"), 0.8)]
)
def test_impossible_wishes_are_errors(difference, wanted):
    with pytest.raises(ValueError, match="a difference above 0 and a power between 0 and 1"):
        decisions_needed(np.array([0.0, 1.0]), difference, wanted)


def test_one_decision_does_not_vary():
    with pytest.raises(ValueError, match="2 decisions or more"):
        decisions_needed(np.array([1.0]))
    with pytest.raises(ValueError, match="2 decisions or more"):
        power(np.array([1.0]))
