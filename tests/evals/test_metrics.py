"""Metrics against hand-computed values and what their papers say of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics import aiq, apgr, call_share, cost_to_reach, frontier, gap_recovered


def array(*values):
    return np.array(values, dtype=np.float64)


def test_the_frontier_leaves_out_what_mixing_two_others_beats():
    costs, qualities = frontier(array(1, 2, 3), array(0.2, 0.4, 0.8))
    assert costs.tolist() == [1, 3]
    assert qualities.tolist() == [0.2, 0.8]


def test_the_frontier_never_falls():
    costs, qualities = frontier(array(1, 2, 3), array(0.5, 0.9, 0.6))
    assert (costs.tolist(), qualities.tolist()) == ([1, 2], [0.5, 0.9])


def test_the_frontier_keeps_the_better_of_two_at_one_cost():
    assert frontier(array(1, 1), array(0.3, 0.7))[1].tolist() == [0.7]


points = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), min_size=1, max_size=20)


@given(points)
def test_no_point_lies_above_the_frontier(found):
    costs, qualities = (np.array(column) for column in zip(*found, strict=True))
    x, y = frontier(costs, qualities)
    assert (np.interp(costs, x, y) >= qualities - 1e-9).all()


def test_aiq_is_the_mean_height_of_the_frontier():
    """From (1, 0.2) to (3, 0.8) the mean is 0.5; flat beyond, so over 1..5 it is (0.5 * 2 + 0.8 * 2) / 4."""
    assert aiq(array(1, 3), array(0.2, 0.8), 1, 3) == pytest.approx(0.5)
    assert aiq(array(1, 3), array(0.2, 0.8), 1, 5) == pytest.approx(0.65)


def test_the_cost_to_reach_a_quality_is_read_off_the_frontier():
    assert cost_to_reach(array(1, 3), array(0.2, 0.8), 0.5) == pytest.approx(2.0)
    assert np.isnan(cost_to_reach(array(1, 3), array(0.2, 0.8), 0.9))


def test_a_perfect_router_recovers_the_gap_with_the_queries_that_need_it():
    """Four queries, the strong model better on two: half the calls recover everything."""
    weak, strong = array(1, 1, 0, 0), array(1, 1, 1, 1)
    recovered = gap_recovered(strong - weak, weak, strong)
    assert recovered.tolist() == [0, 0.5, 1, 1, 1]
    assert apgr(recovered) == pytest.approx((0.25 + 0.75 + 1 + 1) / 4)
    assert call_share(recovered, 0.5) == 0.25


def test_a_coin_recovers_half_on_average():
    dice = np.random.default_rng(0)
    weak, strong = dice.random(20_000), dice.random(20_000) + 0.5
    assert apgr(gap_recovered(dice.random(20_000), weak, strong)) == pytest.approx(0.5, abs=0.02)
