"""Choices, intervals, gaps and calibration, by hand and by property."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from routers.base import Outcome
from routers.data.table import RewardTable
from routers.training.evaluation import binned, bootstrap, calibration, choose, completed, earned, entropy_bits, paired

NAN = float("nan")
rewards = arrays(np.float32, st.integers(2, 40), elements=st.floats(0, 1, width=32))


def table(*rows, propensity=None):
    """A table of experts a, b, ... with these rewards; None is not tried."""
    outcomes = [
        Outcome(
            f"query {i}",
            {name: reward for name, reward in zip("abc", row, strict=False) if reward is not None},
            propensity={} if propensity is None else propensity[i],
        )
        for i, row in enumerate(rows)
    ]
    return RewardTable.of(outcomes, experts=tuple("abc"[: len(rows[0])]))


def test_the_first_of_equals_is_chosen():
    assert choose(np.array([[0.5, 0.5], [0.1, 0.2]], np.float32)).tolist() == [0, 1]


def test_a_cost_counts_as_much_as_lambda_says_and_an_unknown_one_not_at_all():
    predictions = np.array([[0.8, 0.9]], np.float32)
    assert choose(predictions, np.array([[0.0, 1.0]], np.float32), 0.2).tolist() == [0]
    assert choose(predictions, np.array([[0.0, 1.0]], np.float32), 0.05).tolist() == [1]
    assert choose(predictions, np.array([[0.0, NAN]], np.float32), 0.2).tolist() == [1]


def test_what_was_not_tried_earns_nothing_known():
    values = earned(table((1.0, None), (0.5, 0.25)), np.array([1, 1]))
    assert math.isnan(values[0])
    assert values[1] == 0.25


@given(rewards, st.integers(0, 5))
def test_an_interval_holds_the_mean_and_lies_within_the_values(values, seed):
    interval = bootstrap(values, seed=seed, resamples=200)
    assert interval.mean == pytest.approx(values.mean(), abs=1e-5)
    assert values.min() - 1e-6 <= interval.low <= interval.high <= values.max() + 1e-6
    assert interval == bootstrap(values, seed=seed, resamples=200)


def test_the_interval_is_the_one_that_theory_gives_for_many_values():
    values = np.random.default_rng(3).random(2_000).astype(np.float32)
    interval = bootstrap(values)
    margin = 1.96 * float(values.std()) / math.sqrt(len(values))
    assert interval.low == pytest.approx(values.mean() - margin, abs=margin / 8)
    assert interval.high == pytest.approx(values.mean() + margin, abs=margin / 8)


@pytest.mark.slow
@pytest.mark.parametrize("n", [400, 4_000])
@pytest.mark.parametrize(
    ("values", "shares"),
    [((0, 1), (0.4, 0.6)), ((-1, 0, 1), (0.1, 0.77, 0.13)), ((-1, 0, 1), (0.03, 0.92, 0.05))],
    ids=["rewards", "gains", "few gains"],
)
def test_95_of_100_intervals_hold_the_true_mean(n, values, shares):
    dice = np.random.default_rng(n)
    found = [bootstrap(dice.choice(np.array(values, np.float32), n, p=shares)) for _ in range(1_000)]
    truth = float(np.dot(values, shares))
    assert 0.93 <= np.mean([interval.low <= truth <= interval.high for interval in found]) <= 0.97


@pytest.mark.slow
def test_the_interval_of_paired_rewards_holds_the_true_gain_as_often():
    """Soft rewards of many values, of two experts that are good at the same queries."""
    dice = np.random.default_rng(9)
    held = 0
    for _ in range(600):
        hard = dice.random(400)
        first, second = (dice.beta(2 + 3 * hard, 2).astype(np.float32) for _ in range(2))
        interval = paired(first, second)
        held += interval.low <= 0.0 <= interval.high
    assert 0.93 <= held / 600 <= 0.97


def test_few_values_get_a_wider_interval_than_resampling_alone_gives():
    values = np.array([0.1, 0.9, 0.3, 0.7, 0.5, 0.2, 0.8, 0.6], np.float32)
    resampled = np.random.default_rng(0).choice(values, (20_000, 8)).mean(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    interval = bootstrap(values)
    assert interval.high - interval.low == pytest.approx((high - low) * 2.365 / 1.96 * math.sqrt(8 / 7), rel=0.06)


def test_values_that_are_not_known_are_left_out():
    assert bootstrap(np.array([0.5, NAN, 0.5], np.float32)).mean == 0.5
    with pytest.raises(ValueError, match="no value is known"):
        bootstrap(np.array([NAN], np.float32))


@given(rewards)
def test_a_constant_gain_is_certain(values):
    interval = paired(values + np.float32(0.25), values)
    np.testing.assert_allclose((interval.mean, interval.low, interval.high), 0.25, atol=1e-5)


def test_pairing_is_what_makes_a_small_gain_visible():
    dice = np.random.default_rng(0)
    hard = dice.random(500).astype(np.float32)
    better = hard + dice.normal(0.02, 0.05, 500).astype(np.float32)
    assert paired(better, hard).low > 0.0
    assert bootstrap(better).low < bootstrap(hard).high


def test_a_table_without_gaps_stays_as_it_is():
    full = table((1.0, 0.0), (0.0, 1.0))
    assert completed(full, np.zeros((2, 2), np.float32)) is full


def test_gaps_left_by_chance_do_not_move_a_mean():
    """Predictions that are wrong by a constant are corrected by what was tried."""
    dice = np.random.default_rng(1)
    truth = dice.random((4_000, 2)) * [1.0, 0.5]
    tried = dice.random(truth.shape) < 0.5
    tried[:, 0] |= ~tried.any(axis=1)
    gappy = table(*[[r if t else None for r, t in zip(*row, strict=True)] for row in zip(truth, tried, strict=True)])
    filled = completed(gappy, np.full(truth.shape, 0.9, np.float32))
    np.testing.assert_allclose(filled.rewards.mean(axis=0), truth.mean(axis=0), atol=0.02)


def test_what_a_policy_preferred_is_undone_by_its_propensities():
    """It sends a the queries that a is good at, nine times of ten; predictions know nothing of it."""
    dice = np.random.default_rng(2)
    good_at = dice.random(4_000) < 0.5
    to_a = dice.random(4_000) < np.where(good_at, 0.9, 0.1)
    rows = [(float(good), None) if a else (None, 0.6) for good, a in zip(good_at, to_a, strict=True)]
    chances = [{"a" if a else "b": 0.9 if a == good else 0.1} for good, a in zip(good_at, to_a, strict=True)]
    predictions = np.full((4_000, 2), 0.5, np.float32)
    biased = completed(table(*rows), predictions).rewards.mean(axis=0)
    corrected = completed(table(*rows, propensity=chances), predictions).rewards.mean(axis=0)
    assert biased[0] > 0.85
    np.testing.assert_allclose(corrected, [0.5, 0.6], atol=0.04)


def test_calibration_by_hand():
    """Expert a: 0.75 was expected where 1 and 0 were earned, so the gap is 0.25; b is right, and was tried once."""
    predictions = np.array([[0.75, 0.2], [0.75, 1.0]], np.float32)
    found = calibration(predictions, table((1.0, None), (0.0, 1.0)))
    assert (found["a"].n, found["a"].ece, found["a"].brier) == (2, 0.25, (0.0625 + 0.5625) / 2)
    assert (found["b"].n, found["b"].ece, found["b"].brier) == (1, 0.0, 0.0)


def test_errors_of_different_bins_do_not_cancel():
    predictions = np.array([[0.0], [1.0]], np.float32)
    assert calibration(predictions, table((1.0,), (0.0,)))["a"].ece == 1.0


def test_what_is_expected_beyond_rewards_is_in_the_first_bin_or_the_last():
    predictions = np.array([[-0.25], [0.0], [1.0], [1.5]], np.float32)
    found = calibration(predictions, table((0.0,), (0.0,), (1.0,), (1.0,)))["a"]
    assert (found.n, found.ece) == (4, (0.25 + 0.5) / 4)


def test_bins_have_means_by_weight():
    """Two answers in the eighth bin, the second thrice as heavy, and one in the third; bins without any are left out."""
    columns = [[0.75, 0.7, 0.25], [1.0, 0.0, 0.5], [1.0, 3.0, 2.0]]
    found = binned(*(np.array(column, np.float32) for column in columns))
    assert (found.n.tolist(), found.weight.tolist()) == ([1, 2], [2.0, 4.0])
    assert found.expected == pytest.approx([0.25, (0.75 + 3 * 0.7) / 4])
    assert found.earned == pytest.approx([0.5, 0.25])


def test_an_expert_nobody_tried_has_no_calibration():
    assert set(calibration(np.zeros((1, 2), np.float32), table((1.0, None)))) == {"a"}


def test_entropy_says_how_many_experts_are_used():
    assert entropy_bits(np.array([1.0, 0.0], np.float32)) == 0.0
    assert entropy_bits(np.full(4, 0.25, np.float32)) == 2.0
