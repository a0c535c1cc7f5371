"""Ratios to blind choice, the best single expert and the oracle."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.gains import gain_at_best, gain_at_random, gap_at_oracle, largest_share

means = st.floats(0.01, 1.0)


def test_by_hand():
    assert gain_at_random(0.66, random=0.6) == pytest.approx(0.1)
    assert gain_at_best(0.6, single=0.8) == pytest.approx(-0.25)
    assert gap_at_oracle(0.66, oracle=0.88) == pytest.approx(0.25)


@given(means, means, means)
def test_they_agree_with_differences_over_what_is_compared_with(reward, other, best):
    assert gain_at_random(reward, other) == pytest.approx((reward - other) / other, rel=1e-9, abs=1e-9)
    assert gain_at_best(reward, other) == pytest.approx((reward - other) / other, rel=1e-9, abs=1e-9)
    assert gap_at_oracle(reward, best) == pytest.approx((best - reward) / best, rel=1e-9, abs=1e-9)


def test_nothing_is_a_share_of_nothing():
    assert all(math.isnan(measure(0.5, 0.0)) for measure in (gain_at_random, gain_at_best, gap_at_oracle))


def test_the_largest_share_is_that_of_the_expert_chosen_most():
    assert largest_share(np.array([2, 0, 2, 2])) == 0.75
    assert largest_share(np.zeros(5, np.intp)) == 1.0
