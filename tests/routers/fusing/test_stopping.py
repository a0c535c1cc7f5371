"""What a further call is expected to bring, and how many calls a threshold leads to."""

import numpy as np
import pytest

from routers.fusing.playing import NUM_FEATURES, Played
from routers.fusing.stopping import Course, fit_stopping


def played(n=2_000, seed=0):
    """Half the queries show, in their first feature, that the third call brings 0.8; the others never gain anything."""
    dice = np.random.default_rng(seed)
    found = Played.empty(n, 4)
    gains = np.repeat([True, False], n // 2)
    found.features[:] = dice.normal(size=found.features.shape)
    found.features[:, :, 1] = np.arange(4)
    found.features[:, :, 0] = gains[:, None] * (np.arange(4) < 2)
    found.values[:] = 0.1 + 0.8 * (gains[:, None] & (np.arange(4) >= 2))
    found.rewards[:] = found.values
    found.known[:] = True
    return found


def test_gains_are_expected_where_there_are_some():
    stopping = fit_stopping(played())
    fresh = played(seed=1)
    gain, reward = stopping(fresh.features[:, 1])
    assert gain[:1000].mean() == pytest.approx(0.8, abs=0.1)
    assert abs(gain[1000:].mean()) < 0.1
    assert reward[1000:].mean() == pytest.approx(0.1, abs=0.1)


def test_a_gain_two_calls_ahead_counts_by_the_call():
    gain, _ = fit_stopping(played())(played(seed=1).features[:, 0])
    assert gain[:1000].mean() > 0.3


def test_calls_fall_as_the_threshold_rises():
    found = played()
    curve, _ = Course.of_calls(fit_stopping(found), found).curve()
    assert curve.spent[0] == 4.0
    assert (np.diff(curve.spent) <= 0).all()


def test_the_threshold_keeps_to_the_mean_with_a_margin():
    found = played()
    curve, _ = Course.of_calls(fit_stopping(found), found).curve()
    for mean in (1.5, 2.0, 3.0):
        at = np.flatnonzero(curve.thresholds == curve.threshold(mean))[0]
        assert curve.spent[at] < mean


def test_a_dear_call_must_bring_more_than_a_cheap_one():
    found = played()
    price = np.where(np.arange(2_000) % 2, 4.0, 0.1)[:, None] * np.ones(4)
    course = Course.of(fit_stopping(found), found, price.cumsum(axis=1), price)
    curve, values = course.curve()
    place = curve.place(4.0)
    assert curve.surely[place] <= 4.0 < curve.surely[place - 1]
    assert values[place, 1::2].mean() + 0.05 < values[place, ::2].mean() == pytest.approx(0.5, abs=0.05)
    assert curve.place(1.0) is None


def test_queries_with_fewer_experts_make_fewer_calls():
    found = played()
    found.known[:, 2:] = False
    curve, _ = Course.of_calls(fit_stopping(found), found).curve()
    assert curve.spent.max() == 2.0
    assert found.features.shape[2] == NUM_FEATURES
