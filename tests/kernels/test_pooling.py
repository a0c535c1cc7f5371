import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evals.bench_kernels import pooling_inputs
from kernels import reference
from kernels.pooling import mean_pool


@st.composite
def hidden_and_mask(draw):
    n, t, d = draw(st.integers(0, 5)), draw(st.integers(1, 7)), draw(st.integers(1, 9))
    hidden = draw(arrays(np.float32, (n, t, d), elements=st.floats(-8, 8, width=16)))
    mask = draw(arrays(np.int64, (n, t), elements=st.integers(0, 1)))
    return hidden, mask


@given(hidden_and_mask())
def test_it_equals_its_reference(arguments):
    np.testing.assert_allclose(mean_pool(*arguments), reference.mean_pool(*arguments), atol=1e-4)


@pytest.mark.parametrize("name", pooling_inputs())
def test_it_equals_its_reference_on_the_bench_inputs(name):
    arguments = pooling_inputs()[name]
    np.testing.assert_allclose(mean_pool(*arguments), reference.mean_pool(*arguments), atol=1e-5)


def test_rows_are_float32_of_length_one():
    vectors = mean_pool(*pooling_inputs()["8 x 12 tokens"])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_padding_does_not_count():
    hidden = np.array([[[3.0, 0.0], [0.0, 4.0], [100.0, -100.0]]], dtype=np.float32)
    np.testing.assert_allclose(mean_pool(hidden, np.array([[1, 1, 0]])), [[0.6, 0.8]], atol=1e-6)


def test_a_text_without_tokens_is_a_row_of_zeros():
    assert not mean_pool(np.ones((1, 2, 3), dtype=np.float32), np.zeros((1, 2), dtype=np.int64)).any()
