"""Curves of cost and quality by hand, by property, and against other implementations of what the papers say."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evals.metrics.cost_quality import aiq, cost_save, cost_to_reach, frontier, hypervolume

points = st.lists(st.tuples(st.floats(0.01, 10), st.floats(0, 1)), min_size=1, max_size=20)
ranges = st.tuples(st.floats(0.01, 10), st.floats(0.01, 10)).map(sorted)


def array(*values):
    return np.array(values, dtype=np.float64)


def columns(found):
    return (np.array(column, dtype=np.float64) for column in zip(*found, strict=True))


def test_the_frontier_leaves_out_what_mixing_two_others_beats():
    costs, qualities = frontier(array(1, 2, 3), array(0.2, 0.4, 0.8))
    assert costs.tolist() == [1, 3]
    assert qualities.tolist() == [0.2, 0.8]


def test_the_frontier_never_falls():
    costs, qualities = frontier(array(1, 2, 3), array(0.5, 0.9, 0.6))
    assert (costs.tolist(), qualities.tolist()) == ([1, 2], [0.5, 0.9])


def test_the_frontier_keeps_the_better_of_two_at_one_cost():
    assert frontier(array(1, 1), array(0.3, 0.7))[1].tolist() == [0.7]


@given(points)
def test_no_point_lies_above_the_frontier(found):
    costs, qualities = columns(found)
    x, y = frontier(costs, qualities)
    assert (np.interp(costs, x, y) >= qualities - 1e-9).all()


def test_aiq_is_the_mean_height_of_the_frontier():
    """From (1, 0.2) to (3, 0.8) the mean is 0.5; flat beyond, so over 1..5 it is (0.5 * 2 + 0.8 * 2) / 4."""
    assert aiq(array(1, 3), array(0.2, 0.8), 1, 3) == pytest.approx(0.5)
    assert aiq(array(1, 3), array(0.2, 0.8), 1, 5) == pytest.approx(0.65)
    assert aiq(array(1, 3), array(0.2, 0.8), 2, 2) == pytest.approx(0.5)


@given(points, ranges)
def test_aiq_lies_between_the_least_and_the_highest_quality(found, span):
    costs, qualities = columns(found)
    assert qualities.min() - 1e-9 <= aiq(costs, qualities, *span) <= qualities.max() + 1e-9


@given(points, ranges, st.randoms())
def test_the_order_of_points_does_not_matter(found, span, dice):
    other = dice.sample(found, len(found))
    assert aiq(*columns(found), *span) == aiq(*columns(other), *span)


@given(points, ranges, st.tuples(st.floats(0.01, 10), st.floats(0, 1)))
def test_a_further_point_does_no_harm(found, span, further):
    """A cheaper one moves the start of the frontier, below which its height is that of the start."""
    assume(further[0] >= min(cost for cost, _ in found))
    assert aiq(*columns([*found, further]), *span) >= aiq(*columns(found), *span) - 1e-9


def height(found, cost, own):
    """The highest of a point's own quality and of the lines over it between two others, tried pair by pair."""
    for (low, left), (high, right) in product(found, found):
        if low < cost < high:
            own = max(own, left + (right - left) * (cost - low) / (high - low))
    return own


@given(points)
def test_the_frontier_is_what_the_best_pairs_reach(found):
    x, y = frontier(*columns(found))
    for cost, _ in found:
        reached = height(found, cost, max(quality for paid, quality in found if paid <= cost))
        assert np.interp(cost, x, y) == pytest.approx(reached, rel=1e-9, abs=1e-9)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 100)), min_size=3, max_size=12, unique_by=lambda p: p[0]))
def test_aiq_agrees_with_router_bench(counted):
    """Its code: heights at the points' costs, without those that fall, flat to the highest cost, the area over the highest cost."""
    found = sorted((float(cost), quality / 100) for cost, quality in counted)
    heights = [(cost, height(found, cost, quality)) for cost, quality in found]
    rising = [heights[0], *(after for before, after in pairwise(heights) if after[1] >= before[1])]
    corners = [*rising, (heights[-1][0], rising[-1][1])]
    area = sum((right - left) * (before + after) / 2 for (left, before), (right, after) in pairwise(corners))
    low, high = found[0][0], found[-1][0]
    assert aiq(*columns(found), low, high) * (high - low) / high == pytest.approx(area / high, rel=1e-9, abs=1e-9)


def test_the_cost_to_reach_a_quality_is_read_off_the_frontier():
    assert cost_to_reach(array(1, 3), array(0.2, 0.8), 0.5) == pytest.approx(2.0)
    assert np.isnan(cost_to_reach(array(1, 3), array(0.2, 0.8), 0.9))


def test_cost_save_is_of_the_cheapest_point_that_is_as_good():
    """0.7 is reached at 3 and at 4, of a single expert's 5."""
    assert cost_save(array(1, 3, 4), array(0.5, 0.7, 0.8), 5.0, 0.7) == pytest.approx(0.4)
    assert cost_save(array(6), array(0.9), 5.0, 0.7) == pytest.approx(-0.2)
    assert math.isnan(cost_save(array(1), array(0.5), 5.0, 0.7))


@given(points, st.floats(0.1, 10), st.floats(0, 1))
def test_mixing_saves_at_least_as_much(found, cost, quality):
    costs, qualities = columns(found)
    saved = cost_save(costs, qualities, cost, quality)
    assert math.isnan(saved) or 1 - cost_to_reach(costs, qualities, quality) / cost >= saved - 1e-9


def test_hypervolume_by_hand():
    """Of the box 4 x 0.5: from cost 1 on 0.2 high, from cost 3 on 0.4."""
    assert hypervolume(array(1, 3), array(0.7, 0.9), 4.0, 0.5) == pytest.approx((2 * 0.2 + 1 * 0.4) / (4 * 0.5))
    assert hypervolume(array(0), array(1), 4.0, 0.5) == 1.0
    assert hypervolume(array(5, 1), array(0.9, 0.4), 4.0, 0.5) == 0.0


@given(points, st.floats(0.5, 10), st.floats(0, 0.9))
def test_hypervolume_agrees_with_inclusion_and_exclusion(found, reference_cost, reference_quality):
    """The area of a union of boxes that share a corner, one box after another."""
    edges = sorted({0.0, reference_cost, *(cost for cost, _ in found if cost < reference_cost)})
    area = 0.0
    for left, right in pairwise(edges):
        height = max((quality for cost, quality in found if cost <= left), default=0.0)
        area += (right - left) * max(0.0, height - reference_quality)
    box = reference_cost * (1 - reference_quality)
    assert hypervolume(*columns(found), reference_cost, reference_quality) == pytest.approx(
        area / box, rel=1e-9, abs=1e-9
    )


@given(points, st.tuples(st.floats(0.01, 10), st.floats(0, 1)))
def test_hypervolume_grows_with_points_and_stays_within_the_box(found, further):
    before = hypervolume(*columns(found), 10.0, 0.0)
    assert 0.0 <= before <= hypervolume(*columns([*found, further]), 10.0, 0.0) + 1e-9 <= 1.0 + 2e-9
