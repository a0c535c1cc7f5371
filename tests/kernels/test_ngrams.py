import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.bench_kernels import ngram_inputs
from kernels import reference
from kernels.ngrams import ngrams

TEXTS = st.lists(st.text(st.characters(), max_size=30), max_size=5)


@given(TEXTS, st.sampled_from([1, 7, 64, 1000]))
def test_it_is_identical_to_its_reference(texts, dimensions):
    np.testing.assert_array_equal(ngrams(texts, dimensions), reference.ngrams(texts, dimensions))


@pytest.mark.parametrize("name", ngram_inputs())
def test_it_is_identical_to_its_reference_on_the_bench_inputs(name):
    arguments = ngram_inputs()[name]
    np.testing.assert_array_equal(ngrams(*arguments), reference.ngrams(*arguments))


@given(TEXTS)
def test_a_text_has_the_same_vector_alone_and_among_others(texts):
    alone = [ngrams([text], 64)[0] for text in texts]
    np.testing.assert_array_equal(ngrams(texts, 64), np.array(alone, dtype=np.float32).reshape(len(texts), 64))


def test_rows_are_float32_of_length_one_or_zero():
    vectors = ngrams(["hello", "   ", "日本語", "a\ud800b"], 4096)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1, 1], atol=1e-6)


def test_case_and_spacing_do_not_count():
    same = ngrams(["What  is\n2 + 2?", "what is 2 + 2?"], 4096)
    np.testing.assert_array_equal(same[0], same[1])


def test_similar_texts_are_closer_than_others():
    near, also_near, far = ngrams(["multiply 12 by 7", "multiply 15 by 7", "write a poem about rain"], 4096)
    assert near @ also_near > 0.4 > 0.1 > near @ far
