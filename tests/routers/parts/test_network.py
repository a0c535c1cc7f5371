"""Heads on frozen vectors: what they compute, their gradients, and what stopping early and decay do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routers.parts.network import (
    Network,
    cross_entropy,
    fit_network,
    logit,
    minimise,
    sigmoid,
    split_rows,
    squared_error,
)

NAN = np.nan


def dice(seed):
    return np.random.default_rng(seed)


def problem(n=400, dimensions=6, outputs=3, seed=0):
    """Unit vectors and rewards that are linear in them, with noise."""
    vectors = dice(seed).standard_normal((n, dimensions), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    truth = dice(seed + 1).standard_normal((dimensions, outputs)).astype(np.float32)
    noise = dice(seed + 2).standard_normal((n, outputs)).astype(np.float32)
    return vectors, vectors @ truth + 0.3 * noise


def test_a_linear_head_is_a_product_and_a_sum():
    network = Network((np.array([[1.0, 2.0], [3.0, 4.0]]),), (np.array([10.0, 20.0]),))
    np.testing.assert_array_equal(network(np.array([[1.0, 1.0], [0.0, 2.0]])), [[14.0, 26.0], [16.0, 28.0]])


def test_a_hidden_layer_bends():
    network = Network((np.array([[2.0]]), np.array([[3.0]])), (np.array([0.5]), np.array([1.0])))
    np.testing.assert_allclose(network(np.array([[1.0]])), [[3.0 * np.tanh(2.5) + 1.0]])


@pytest.mark.parametrize("width", [0, 5])
def test_the_start_gives_its_constant_for_every_vector(width):
    vectors, _ = problem(n=10)
    constant = np.array([0.2, 0.5, 0.9], dtype=np.float32)
    np.testing.assert_array_equal(Network.start(6, width, constant, seed=3)(vectors), np.tile(constant, (10, 1)))


@given(st.integers(0, 1_000), st.sampled_from([0, 4]), st.sampled_from([squared_error, cross_entropy]))
@settings(max_examples=25, deadline=None)
def test_gradients_are_the_differences_of_the_loss(seed, width, make_loss):
    vectors, rewards = problem(n=30, seed=seed)
    rewards[dice(seed).random(rewards.shape) < 0.3] = NAN
    loss, rows = make_loss(np.clip(rewards, 0, 1), np.full_like(rewards, 2.0)), np.arange(30)
    start = Network.start(6, width, np.zeros(3, dtype=np.float32), seed)
    points = tuple(dice(seed).standard_normal(each.shape) for each in start.parameters)
    network = Network.of(points)
    gradients = network.gradients(vectors, loss(network(vectors), rows)[1])
    for number, gradient in enumerate(gradients):
        step = np.zeros_like(points[number])
        step.flat[0] = 1e-4
        ends = []
        for sign in (1, -1):
            moved = tuple(each + sign * step if i == number else each for i, each in enumerate(points))
            ends.append(loss(Network.of(moved)(vectors), rows)[0])
        assert gradient.flat[0] == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-3, abs=1e-3)


def test_squared_error_is_ridge_regression():
    from sklearn.linear_model import Ridge

    vectors, rewards = problem()
    start = Network.start(6, 0, np.zeros(3, dtype=np.float32), seed=0)
    found = fit_network(start, vectors, squared_error(rewards, np.ones_like(rewards)), penalty=2.0)
    expected = Ridge(alpha=2.0).fit(vectors, rewards)
    np.testing.assert_allclose(found.weights[0].T, expected.coef_, atol=2e-3)
    np.testing.assert_allclose(found.biases[0], expected.intercept_, atol=2e-3)


def test_a_weight_counts_like_so_many_rows():
    vectors, rewards = problem(n=50)
    weights = np.ones_like(rewards)
    weights[:10] = 3.0
    start = Network.start(6, 0, np.zeros(3, dtype=np.float32), seed=0)
    weighted = fit_network(start, vectors, squared_error(rewards, weights), penalty=1.0)
    again = np.concatenate([np.arange(50), np.arange(10), np.arange(10)])
    repeated = fit_network(start, vectors[again], squared_error(rewards[again], np.ones((70, 3))), penalty=1.0)
    np.testing.assert_allclose(weighted.weights[0], repeated.weights[0], atol=2e-3)


def test_cells_without_a_reward_do_not_count():
    vectors, rewards = problem()
    rewards[200:, 0] = NAN
    start = Network.start(6, 0, np.zeros(3, dtype=np.float32), seed=0)
    gappy = fit_network(start, vectors, squared_error(rewards, np.ones_like(rewards)), penalty=1.0)
    half = fit_network(start, vectors[:200], squared_error(rewards[:200], np.ones((200, 3))), penalty=1.0)
    np.testing.assert_allclose(gappy.weights[0][:, 0], half.weights[0][:, 0], atol=2e-3)


def test_a_hidden_layer_learns_what_a_line_cannot():
    angles = dice(0).uniform(0, 2 * np.pi, 500)
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    rewards = (vectors[:, :1] * vectors[:, 1:] > 0).astype(np.float32)
    errors = []
    for width in (0, 16):
        start = Network.start(2, width, np.array([0.5], dtype=np.float32), seed=0)
        network = fit_network(start, vectors, squared_error(rewards, np.ones_like(rewards)), penalty=1e-3)
        errors.append(float(((network(vectors) - rewards) ** 2).mean()))
    assert errors[0] > 0.2
    assert errors[1] < 0.05


def test_stopping_early_is_better_than_fitting_noise():
    vectors, _ = problem(n=300, dimensions=100, outputs=1)
    rewards = dice(5).standard_normal((300, 1)).astype(np.float32)
    loss = squared_error(rewards, np.ones_like(rewards))
    start = Network.start(100, 0, np.zeros(1, dtype=np.float32), seed=0)
    to_the_end = fit_network(start, vectors, loss, penalty=1e-6)
    early = fit_network(start, vectors, loss, split_rows(300, 0.3, seed=0), penalty=1e-6)
    assert np.abs(early.weights[0]).sum() < 0.5 * np.abs(to_the_end.weights[0]).sum()


def test_the_best_parameters_on_the_way_are_kept():
    def objective(parameters):
        (point,) = parameters
        return float(((point - 10.0) ** 2).sum()), (2.0 * (point - 10.0),)

    (found,) = minimise(objective, (np.zeros(1, dtype=np.float32),), lambda parameters: float(parameters[0][0] ** 2))
    assert found[0] == 0.0


@given(st.integers(0, 500), st.floats(0, 0.9), st.integers(0, 5))
def test_every_row_is_fitted_or_stopped_by(n, held_out, seed):
    fitted, stopping = split_rows(n, held_out, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([fitted, stopping])), np.arange(n))
    assert len(stopping) == 0 or len(stopping) >= 20


def test_logit_is_the_inverse_of_sigmoid():
    shares = np.array([0.01, 0.5, 0.99], dtype=np.float32)
    np.testing.assert_allclose(sigmoid(logit(shares)), shares, rtol=1e-5)
    assert np.isfinite(logit(np.array([0.0, 1.0], dtype=np.float32))).all()
    np.testing.assert_array_equal(sigmoid(np.array([-1e4, 1e4], dtype=np.float32)), [0.0, 1.0])
