import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evals.bench_kernels import fusion_inputs
from kernels import reference
from kernels.logit_fusion import AT_MOST, contrast, mixture, steer

LOGITS = st.floats(-8, 8)


def normalised(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@st.composite
def models(draw, least, most):
    """Log-probabilities `(b, m, v)`."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(least, most)), draw(st.integers(1, 7)))
    return normalised(draw(arrays(np.float64, shape, elements=LOGITS)))


@st.composite
def weighted(draw):
    logprobs = draw(models(1, 4))
    masses = draw(arrays(np.float64, logprobs.shape[:2], elements=st.floats(0.01, 1)))
    return logprobs, masses / masses.sum(axis=1, keepdims=True)


def divergence(p, q):
    return (np.exp(p) * (p - q)).sum(axis=-1)


@given(weighted())
def test_mixture_equals_its_reference(arguments):
    np.testing.assert_allclose(mixture(*arguments), reference.mixture(*arguments), atol=1e-9)


@given(weighted())
def test_a_mixture_is_a_distribution(arguments):
    np.testing.assert_allclose(np.exp(mixture(*arguments)).sum(axis=1), 1.0, atol=1e-12)


@given(weighted())
def test_a_mixture_of_equals_is_what_each_of_them_says(arguments):
    logprobs, weights = arguments
    same = np.repeat(logprobs[:, :1], logprobs.shape[1], axis=1)
    np.testing.assert_allclose(mixture(same, weights), same[:, 0], atol=1e-9)


def test_what_nobody_with_a_weight_says_has_no_probability():
    logprobs = np.log(np.array([[[1.0, 1e-300], [0.5, 0.5]]]))
    logprobs[0, 0, 1] = -np.inf
    np.testing.assert_array_equal(mixture(logprobs, np.array([[1.0, 0.0]])), [[0.0, -np.inf]])


@given(models(3, 5))
def test_steer_equals_its_reference(logprobs):
    fused, weights = steer(logprobs[:, 0], logprobs[:, 1], logprobs[:, 2:])
    plain, plain_weights = reference.steer(logprobs[:, 0], logprobs[:, 1], logprobs[:, 2:])
    np.testing.assert_allclose(divergence(fused, logprobs[:, 0]), divergence(plain, logprobs[:, 0]), atol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=1) > 0, plain_weights.sum(axis=1) > 0)


@given(models(3, 5))
def test_the_fused_model_is_as_far_from_the_large_one_as_the_specialists_from_theirs(logprobs):
    large, base, specialists = logprobs[:, 0], logprobs[:, 1], logprobs[:, 2:]
    fused, weights = steer(large, base, specialists)
    wanted = divergence(specialists, base[:, None]).mean(axis=1)
    free = weights.sum(axis=1) < AT_MOST - 1e-9
    np.testing.assert_allclose(divergence(fused, large)[free], wanted[free], atol=1e-6)
    assert (divergence(fused, large) <= wanted + 1e-6).all()
    np.testing.assert_allclose(np.exp(fused).sum(axis=1), 1.0, atol=1e-9)


@given(models(2, 2), st.integers(1, 3))
def test_a_large_model_that_is_the_base_becomes_the_specialist(logprobs, copies):
    """With one specialist, or several that are the same, the paper's problem has this solution: a weight of 1."""
    base, specialist = logprobs[:, 0], logprobs[:, 1]
    fused, weights = steer(base, base, np.repeat(logprobs[:, 1:], copies, axis=1))
    apart = divergence(specialist, base) > 1e-4
    np.testing.assert_allclose(fused[apart], specialist[apart], atol=1e-3)
    np.testing.assert_allclose(weights.sum(axis=1)[apart], 1.0, atol=1e-3)


@given(models(2, 2))
def test_a_specialist_that_learned_nothing_moves_nothing(logprobs):
    fused, weights = steer(logprobs[:, 0], logprobs[:, 1], logprobs[:, 1:])
    np.testing.assert_allclose(fused, logprobs[:, 0], atol=1e-9)
    np.testing.assert_array_equal(weights, 0.0)


@given(models(2, 2), st.floats(0, 2), st.sampled_from([0.0, 0.1, 0.7]))
def test_contrast_equals_its_reference(logprobs, beta, alpha):
    strong, weak = logprobs[:, 0], logprobs[:, 1]
    np.testing.assert_allclose(
        contrast(strong, weak, beta, alpha), reference.contrast(strong, weak, beta, alpha), atol=1e-9
    )


@given(models(2, 2))
def test_a_contrast_of_nothing_is_the_strong_model(logprobs):
    np.testing.assert_allclose(contrast(logprobs[:, 0], logprobs[:, 1], 0.0), logprobs[:, 0], atol=1e-9)


@given(models(2, 2), st.floats(0.1, 2))
def test_only_what_the_strong_model_holds_plausible_can_win(logprobs, beta):
    strong, weak = logprobs[:, 0], logprobs[:, 1]
    possible = np.isfinite(contrast(strong, weak, beta, 0.5))
    np.testing.assert_array_equal(possible, np.exp(strong) >= 0.5 * np.exp(strong.max(axis=1, keepdims=True)))


@pytest.mark.parametrize("name", fusion_inputs())
def test_kernels_equal_their_references_on_the_bench_inputs(name):
    logprobs = fusion_inputs()[name]
    large, base, specialists = logprobs[:, 0], logprobs[:, 1], logprobs[:, 2:]
    weights = np.full(logprobs.shape[:2], 1 / 3)
    np.testing.assert_allclose(mixture(logprobs, weights), reference.mixture(logprobs, weights), atol=1e-9)
    np.testing.assert_allclose(
        steer(large, base, specialists)[1], reference.steer(large, base, specialists)[1], atol=1e-6
    )
    np.testing.assert_allclose(contrast(large, base, 0.5, 0.1), reference.contrast(large, base, 0.5, 0.1), atol=1e-9)
