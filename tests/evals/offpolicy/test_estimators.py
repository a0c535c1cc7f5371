"""Estimators against formulas written down again, against values that obp 0.5.7 gave, and against what can be enumerated."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evals.offpolicy.estimators import (
    direct_method,
    doubly_robust,
    effective_sample_size,
    interval,
    ips,
    sndr,
    snips,
    switch_dr,
)
from evals.offpolicy.logs import leave_one_out

SEEDS = st.integers(0, 2**32 - 1)

REWARDS = np.array([1.0, 0.0, 0.75, 0.5, 0.0, 1.0])
PROPENSITIES = np.array([0.5, 0.25, 0.8, 0.1, 0.4, 1.0])
ACTIONS = np.array([0, 1, 2, 0, 2, 1])
Q_HAT = np.array([[0.9, 0.2, 0.4], [0.5, 0.3, 0.1], [0.2, 0.2, 0.7], [0.6, 0.8, 0.3], [0.1, 0.4, 0.5], [0.3, 0.9, 0.6]])
POLICY = np.array([[1, 0, 0], [0.2, 0.5, 0.3], [0, 0.25, 0.75], [0.4, 0.4, 0.2], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1]])
LOG = REWARDS, PROPENSITIES, ACTIONS, Q_HAT, POLICY
OF_OBP = {
    "ips": 0.9171874999999999,
    "ips clipped": 0.6255208333333333,
    "snips": 0.5375457875457875,
    "dm": 0.5708333333333334,
    "dr": 0.4169791666666667,
    "dr clipped": 0.4753125,
    "sndr": 0.4806623931623932,
    "switch": 0.5503125000000001,
}
"""What `estimate_policy_value` of obp 0.5.7's estimators gave for `LOG`, with `lambda_=1.5` for the clipped ones and the switch."""


def random_log(seed):
    """A log of 5 to 40 decisions among 2 to 5 actions that all have propensities."""
    dice = np.random.default_rng(seed)
    n, k = dice.integers(5, 41), dice.integers(2, 6)
    logging = 0.1 / k + 0.9 * dice.dirichlet(np.ones(k), n)
    actions = np.array([dice.choice(k, p=row / row.sum()) for row in logging])
    return (
        dice.random(n),
        logging[np.arange(n), actions],
        actions,
        dice.random((n, k)),
        dice.dirichlet(np.ones(k), n),
    )


def chances(log):
    _, _, actions, _, policy = log
    return policy[np.arange(len(actions)), actions]


def estimates(log, clip=1.5):
    rewards, propensities, *_ = log
    return {
        "ips": ips(rewards, propensities, chances(log)),
        "ips clipped": ips(rewards, propensities, chances(log), max_weight=clip),
        "snips": snips(rewards, propensities, chances(log)),
        "dm": direct_method(*log[3:]),
        "dr": doubly_robust(*log),
        "dr clipped": doubly_robust(*log, max_weight=clip),
        "sndr": sndr(*log),
        "switch": switch_dr(*log, threshold=clip),
    }


def by_formula(log, clip=1.5):
    """The same, row by row."""
    ips_sum = clipped_sum = weight_sum = dm_sum = correction = clipped_correction = switched = 0.0
    n = len(log[0])
    for reward, propensity, action, q, policy in zip(*log, strict=True):
        weight = policy[action] / propensity
        cut = min(weight, clip)
        ips_sum += weight * reward
        clipped_sum += cut * reward
        weight_sum += weight
        dm_sum += sum(p * value for p, value in zip(policy, q, strict=True))
        correction += weight * (reward - q[action])
        clipped_correction += cut * (reward - q[action])
        switched += weight * (reward - q[action]) if weight <= clip else 0.0
    return {
        "ips": ips_sum / n,
        "ips clipped": clipped_sum / n,
        "snips": ips_sum / weight_sum,
        "dm": dm_sum / n,
        "dr": (dm_sum + correction) / n,
        "dr clipped": (dm_sum + clipped_correction) / n,
        "sndr": dm_sum / n + correction / weight_sum,
        "switch": (dm_sum + switched) / n,
    }


def values(found):
    return {name: estimate.value for name, estimate in found.items()}


def test_they_give_what_obp_gave():
    assert values(estimates(LOG)) == pytest.approx(OF_OBP, abs=1e-12)


@settings(deadline=None)
@given(SEEDS)
def test_they_are_their_formulas(seed):
    log = random_log(seed)
    assert values(estimates(log)) == pytest.approx(by_formula(log), abs=1e-9)


def test_they_agree_with_obp_where_it_is_installed():
    theirs = pytest.importorskip("obp.ope.estimators")
    made = {
        "ips": theirs.InverseProbabilityWeighting(),
        "ips clipped": theirs.InverseProbabilityWeighting(lambda_=1.5),
        "snips": theirs.SelfNormalizedInverseProbabilityWeighting(),
        "dm": theirs.DirectMethod(),
        "dr": theirs.DoublyRobust(),
        "dr clipped": theirs.DoublyRobust(lambda_=1.5),
        "sndr": theirs.SelfNormalizedDoublyRobust(),
        "switch": theirs.SwitchDoublyRobust(lambda_=1.5),
    }
    for seed in range(100):
        log = random_log(seed)
        rewards, propensities, actions, q_hat, policy = log
        given_to_obp = {
            "reward": rewards,
            "pscore": propensities,
            "action": actions,
            "position": np.zeros(len(actions), dtype=int),
            "estimated_rewards_by_reg_model": q_hat[:, :, None],
            "action_dist": policy[:, :, None],
        }
        expected = {name: estimator.estimate_policy_value(**given_to_obp) for name, estimator in made.items()}
        assert values(estimates(log)) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(SEEDS)
def test_a_value_is_the_mean_of_its_influence_and_lies_in_its_interval(seed):
    for estimate in estimates(random_log(seed)).values():
        assert estimate.influence.mean() == pytest.approx(estimate.value, abs=1e-9)
        assert estimate.low <= estimate.value <= estimate.high


def every_log(logging, rewards):
    """All logs of these queries with their probabilities: one action each, in all combinations."""
    n, k = logging.shape
    for actions in itertools.product(range(k), repeat=n):
        rows, columns = np.arange(n), np.array(actions)
        yield math.prod(logging[rows, columns]), columns, rewards[rows, columns], logging[rows, columns]


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_over_all_draws_of_actions_the_mean_is_the_true_value_exactly(seed):
    """Also with a model that was fitted on the same log, each row's own reward left out."""
    dice = np.random.default_rng(seed)
    n, k = 3, 2
    logging, policy = 0.1 + 0.8 * dice.dirichlet(np.ones(k), n), dice.dirichlet(np.ones(k), n)
    rewards = dice.random((n, k))
    truth = (policy * rewards).sum(axis=1).mean()
    wrong = dice.random((n, k))
    expected = dict.fromkeys(("ips", "dr", "left out"), 0.0)
    for chance, actions, earned, propensities in every_log(logging, rewards):
        left_out = leave_one_out(actions, earned, propensities, k)
        expected["ips"] += chance * ips(earned, propensities, policy[np.arange(n), actions]).value
        expected["dr"] += chance * doubly_robust(earned, propensities, actions, wrong, policy).value
        expected["left out"] += chance * doubly_robust(earned, propensities, actions, left_out, policy).value
    assert expected == pytest.approx(dict.fromkeys(expected, truth), abs=1e-9)


@settings(deadline=None)
@given(SEEDS)
def test_a_perfect_model_leaves_no_variance_to_the_draw_of_actions(seed):
    dice = np.random.default_rng(seed)
    logging, rewards = np.full((3, 2), 0.5), dice.random((3, 2))
    policy = dice.dirichlet(np.ones(2), 3)
    drawn = [
        doubly_robust(earned, propensities, actions, rewards, policy).influence
        for _, actions, earned, propensities in every_log(logging, rewards)
    ]
    assert np.ptp(drawn, axis=0) == pytest.approx(np.zeros(3), abs=1e-12)


@settings(deadline=None)
@given(SEEDS)
def test_snips_stays_within_the_rewards(seed):
    log = random_log(seed)
    rewards = log[0]
    assert rewards.min() - 1e-9 <= snips(rewards, log[1], chances(log)).value <= rewards.max() + 1e-9


@settings(deadline=None)
@given(SEEDS)
def test_where_the_policies_are_the_same_every_weight_is_one(seed):
    rewards, propensities, *_ = random_log(seed)
    found = ips(rewards, propensities, propensities)
    assert found.value == pytest.approx(rewards.mean())
    assert (found.max_weight, found.effective_sample_size) == pytest.approx((1.0, len(rewards)))


def test_what_was_not_observed_counts_for_the_model_alone():
    rewards = np.array([1.0, np.nan])
    half, first, sure = np.full(2, 0.5), np.zeros(2, dtype=int), np.tile([1.0, 0.0], (2, 1))
    q_hat = np.array([[0.8, 0.1], [0.6, 0.1]])
    assert ips(rewards, half, np.ones(2)).value == pytest.approx((2.0 + 0.0) / 2)
    assert doubly_robust(rewards, half, first, q_hat, sure).value == pytest.approx((0.8 + 2 * 0.2 + 0.6) / 2)


@pytest.mark.parametrize(
    ("rewards", "propensities", "taken", "message"),
    [
        ([], [], [], "at least one decision, got none"),
        ([1.0], [0.0], [1.0], "propensities above 0 and up to 1"),
        ([1.0], [1.5], [1.0], "propensities above 0 and up to 1"),
        ([1.0], [np.nan], [1.0], "propensities above 0 and up to 1"),
        ([1.0], [0.5], [1.5], "between 0 and 1"),
        ([np.inf], [0.5], [1.0], "finite rewards"),
        ([1.0, 1.0], [0.5], [1.0], "arrays of one length, got 2, 1 and 1"),
    ],
)
def test_what_can_not_be_weighted_is_an_error(rewards, propensities, taken, message):
    for estimator in (ips, snips):
        with pytest.raises(ValueError, match=message):
            estimator(np.array(rewards), np.array(propensities), np.array(taken))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": np.array([3])}, "an action from 0 to 1"),
        ({"q_hat": np.array([[0.5, np.nan]])}, "finite rewards of the model"),
        ({"policy": np.array([[0.7, 0.7]])}, "sum to 1"),
        ({"q_hat": np.array([[0.5]])}, "of one shape"),
    ],
)
def test_a_model_or_policy_that_does_not_fit_is_an_error(change, message):
    good = {"actions": np.array([0]), "q_hat": np.array([[0.5, 0.5]]), "policy": np.array([[0.7, 0.3]])}
    with pytest.raises(ValueError, match=message):
        doubly_robust(np.array([1.0]), np.array([0.5]), **(good | change))


def test_self_normalising_needs_a_decision_that_the_policy_would_have_made():
    with pytest.raises(ValueError, match="nothing can be said"):
        snips(np.array([1.0, 0.0]), np.array([0.5, 0.5]), np.zeros(2))


def test_one_decision_has_an_infinite_interval():
    found = ips(np.array([1.0]), np.array([0.5]), np.array([1.0]))
    assert (found.value, found.low, found.high) == (2.0, -math.inf, math.inf)


@settings(deadline=None)
@given(st.floats(-10, 10), st.floats(0.01, 10))
def test_without_far_values_the_interval_is_students(offset, width):
    drawn = offset + width * np.linspace(0, 1, 30)
    found = interval(drawn)
    low, high = stats.t.interval(0.95, 29, drawn.mean(), stats.sem(drawn))
    assert (found.low, found.high) == pytest.approx((low, high))


@settings(deadline=None)
@given(SEEDS)
def test_the_degrees_of_freedom_are_those_of_the_kurtosis(seed):
    drawn = np.random.default_rng(seed).standard_cauchy(200)
    freedom = max(1.0, 2 * 200 / (stats.kurtosis(drawn, fisher=False) - 1))
    low, high = stats.t.interval(0.95, freedom, drawn.mean(), stats.sem(drawn))
    assert (interval(drawn).low, interval(drawn).high) == pytest.approx((low, high))


def test_far_values_widen_the_interval():
    """Without the wider tails, 91% of such intervals would hold the truth."""
    dice = np.random.default_rng(0)
    held = 0
    for _ in range(1_000):
        rare = dice.random(500) < 0.02
        found = interval(np.where(rare, 50.0, 1.0) * (dice.random(500) < 0.4))
        held += found.low <= 0.4 * (0.02 * 50 + 0.98) <= found.high
    assert 930 <= held <= 985


def test_the_effective_sample_size_is_that_of_kish():
    assert effective_sample_size(np.array([1.0, 1.0, 2.0])) == pytest.approx(16 / 6)
    assert effective_sample_size(np.zeros(3)) == 0.0
