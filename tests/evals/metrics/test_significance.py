"""p-values against scipy's tests and their own promise, Holm's adjustment by hand."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evals.metrics.significance import holm, p_value

NAN = float("nan")


@given(st.lists(st.integers(-8, 8), min_size=2, max_size=30).filter(lambda found: len(set(found)) > 1))
def test_p_is_that_of_the_paired_t_test(found):
    differences = np.array(found, dtype=np.float32) / 8
    expected = stats.ttest_1samp(differences.astype(np.float64), 0.0).pvalue
    assert p_value(differences) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert p_value(-differences) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_p_is_near_that_of_flipping_signs():
    """All 2^12 assignments of signs."""
    differences = np.random.default_rng(4).normal(0.4, 1.0, 12)
    sums = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=12)]
    exact = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-12)
    assert p_value(differences) == pytest.approx(exact, abs=0.02)


def test_a_true_null_is_rejected_as_often_as_promised():
    """Two routers that are right where the other is wrong equally often, on 8% of 400 queries in all."""
    dice = np.random.default_rng(0)
    draws = dice.choice([-1.0, 0.0, 1.0], p=[0.04, 0.92, 0.04], size=(4_000, 400))
    assert np.mean([p_value(row) < 0.05 for row in draws]) == pytest.approx(0.05, abs=0.01)


def test_differences_without_spread():
    assert p_value(np.zeros(9)) == 1.0
    assert p_value(np.full(5, 0.25)) == 2.0**-4
    assert p_value(np.array([0.25])) == 1.0


def test_differences_that_are_not_known_are_left_out():
    assert p_value(np.array([0.5, NAN, 0.25])) == p_value(np.array([0.5, 0.25]))
    with pytest.raises(ValueError, match="no difference is known"):
        p_value(np.array([NAN]))


def test_holm_by_hand():
    """Sorted 0.01, 0.02, 0.04 times 3, 2, 1; the last may not be below the one before."""
    np.testing.assert_allclose(holm([0.02, 0.01, 0.04]), [0.04, 0.03, 0.04])
    np.testing.assert_allclose(holm([0.6, 0.9]), [1.0, 1.0])
    assert len(holm([])) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_what_stepping_down_rejects(found, level):
    """The least p is held against level / m, the next against level / (m - 1), and so on until one is not rejected."""
    rejected = []
    for step, p in enumerate(sorted(found)):
        if p * (len(found) - step) > level:
            break
        rejected.append(p)
    assert int((holm(found) <= level).sum()) == len(rejected)
