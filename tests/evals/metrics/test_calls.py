"""RouteLLM's measures by hand, by property, and against what its code does."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evals.metrics.calls import apgr, call_share, gap_recovered

queries = st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.booleans()), min_size=2, max_size=30)


def array(*values):
    return np.array(values, dtype=np.float64)


def columns(found):
    gain, weak, strong = (np.array(column, dtype=np.float64) for column in zip(*found, strict=True))
    assume(weak.sum() != strong.sum())
    return gain, weak, strong


def test_a_perfect_router_recovers_the_gap_with_the_queries_that_need_it():
    """Four queries, the strong model better on two: half the calls recover everything."""
    weak, strong = array(1, 1, 0, 0), array(1, 1, 1, 1)
    recovered = gap_recovered(array(0, -1, 2, 1), weak, strong)
    assert recovered.tolist() == [0, 0.5, 1, 1, 1]
    assert apgr(recovered) == pytest.approx((0.25 + 0.75 + 1 + 1) / 4)
    assert call_share(recovered, 0.5) == 0.25


def test_equal_gains_are_no_order():
    recovered = gap_recovered(array(1, 1, 1, 1), array(1, 1, 0, 0), array(1, 1, 1, 1))
    assert recovered.tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_without_a_gap_nothing_is_recovered():
    recovered = gap_recovered(array(1, 2), array(0, 1), array(1, 0))
    assert np.isnan(recovered).all()
    assert np.isnan(call_share(recovered, 0.5))


def test_all_calls_recover_the_whole_gap_whatever_rounding_does():
    dice = np.random.default_rng(5)
    for _ in range(50):
        assert call_share(gap_recovered(dice.random(7), dice.random(7), 1.0 + dice.random(7)), 1.0) == 1.0


def test_a_coin_recovers_half_on_average():
    dice = np.random.default_rng(0)
    weak, strong = dice.random(20_000), dice.random(20_000) + 0.5
    assert apgr(gap_recovered(dice.random(20_000), weak, strong)) == pytest.approx(0.5, abs=0.02)


@given(queries)
def test_the_curve_agrees_with_the_papers_sums(found):
    """PGR = (reward of the routed mixture - weak) / (strong - weak), tied queries each in part, with whole numbers."""
    recovered = gap_recovered(*columns(found))
    gap = sum(strong - weak for _, weak, strong in found)
    for calls, value in enumerate(recovered):
        total, left = Fraction(0), Fraction(calls)
        for level in sorted({gain for gain, _, _ in found}, reverse=True):
            tied = [strong - weak for gain, weak, strong in found if gain == level]
            sent = min(left, Fraction(len(tied)))
            total, left = total + sent * Fraction(sum(tied), len(tied)), left - sent
        assert value == pytest.approx(float(total / gap), rel=1e-9, abs=1e-9)


@given(queries, st.randoms())
def test_the_order_of_queries_does_not_matter(found, dice):
    other = dice.sample(found, len(found))
    assert apgr(gap_recovered(*columns(found))) == pytest.approx(
        apgr(gap_recovered(*columns(other))), rel=1e-9, abs=1e-9
    )


@given(queries)
def test_the_opposite_router_recovers_what_is_left(found):
    gain, weak, strong = columns(found)
    both = apgr(gap_recovered(gain, weak, strong)) + apgr(gap_recovered(-gain, weak, strong))
    assert both == pytest.approx(1.0, rel=1e-9, abs=1e-9)


@given(queries, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_target_takes_no_fewer_calls(found, first, second):
    recovered = gap_recovered(*columns(found))
    assert call_share(recovered, min(first, second)) <= call_share(recovered, max(first, second))


def curve_by_thresholds(gain, weak, strong, num_results):
    """Rising shares of strong calls, and the gap recovered at each: thresholds at the quantiles of the gains, a query going to the
    strong model when its gain is at or above, and none at the last."""
    thresholds = np.quantile(gain, np.linspace(0.0, 1.0, num_results + 1))[-2::-1]
    called = gain >= thresholds[:, None]
    recovered = (called * (strong - weak)).mean(axis=1) / (strong - weak).mean()
    return np.append(0.0, called.mean(axis=1)), np.append(0.0, recovered)


def apgr_by_thresholds(gain, weak, strong, num_results=10):
    """APGR as RouteLLM's code has it (`routellm/evals`), from which its published numbers come: by trapezoids over few points."""
    shares, recovered = curve_by_thresholds(gain, weak, strong, num_results)
    return float(np.trapezoid(recovered, shares))


def call_share_by_thresholds(gain, weak, strong, target, num_results=10):
    """CPT as RouteLLM's code has it: the share of calls interpolated at `target` of the gap."""
    shares, recovered = curve_by_thresholds(gain, weak, strong, num_results)
    return float(np.interp(target, recovered, shares))


def routellm_points(gain, weak, strong, num_results):
    """As RouteLLM's benchmarks do it: eleven thresholds from the least gain up, percent of calls and accuracy at each."""
    ordered = np.sort(gain)
    thresholds = []
    for i in range(num_results + 1):
        place = i / num_results * (len(ordered) - 1)
        low = int(np.floor(place))
        high = min(low + 1, len(ordered) - 1)
        thresholds.append(ordered[low] + (ordered[high] - ordered[low]) * (place - low))
    points = []
    for i, threshold in enumerate(thresholds):
        to_strong = [(g >= threshold if i < num_results else g > threshold) for g in gain]
        correct = [s if sent else w for sent, w, s in zip(to_strong, weak, strong, strict=True)]
        points.append((100 * sum(to_strong) / len(gain), 100 * sum(correct) / len(correct)))
    return sorted(points)


@given(st.sampled_from([12, 14, 18, 22, 40]), st.integers(0, 1_000_000))
def test_by_thresholds_agrees_with_routellms_apgr(n, seed):
    """The area between the router's accuracies and the weak model's, over that between the two models'.

    For these n no threshold falls on a gain, where rounding would decide.
    """
    dice = np.random.default_rng(seed)
    gain, weak, strong = dice.permutation(n).astype(np.float64), dice.random(n), dice.random(n)
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 200 for a, b in pairwise(routellm_points(gain, weak, strong, 10)))
    low, high = 100 * weak.mean(), 100 * strong.mean()
    assert apgr_by_thresholds(gain, weak, strong) == pytest.approx((area - low) / (high - low), rel=1e-9, abs=1e-9)


def test_calls_by_thresholds_are_interpolated():
    """Two thresholds, at the median and the least gain: half the calls recover 2 of 3, so 1 of 3 takes a quarter."""
    gain, weak, strong = array(4, 3, 2, 1), array(0, 0, 0, 1), array(1, 1, 1, 1)
    assert call_share_by_thresholds(gain, weak, strong, 1 / 3, num_results=2) == pytest.approx(0.25)
    assert apgr_by_thresholds(gain, weak, strong, num_results=2) == pytest.approx((0 + 2 / 3) / 4 + (2 / 3 + 1) / 4)


def test_a_coarser_curve_is_near_the_whole_one():
    dice = np.random.default_rng(1)
    gain = dice.random(4_000)
    weak = (dice.random(4_000) < 0.7 - 0.4 * gain).astype(np.float64)
    strong = (dice.random(4_000) < 0.8).astype(np.float64)
    whole = apgr(gap_recovered(gain, weak, strong))
    assert apgr_by_thresholds(gain, weak, strong) == pytest.approx(whole, abs=0.005)
    assert apgr_by_thresholds(gain, weak, strong, num_results=4_000) == pytest.approx(whole, abs=1e-3)
