"""What every encoder owes: unit vectors that depend on the text alone, for any text, from any thread."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from routers.encoders import HashedEncoder, JoinedEncoder, TextFeatures, find_encoder
from routers.encoders.cache import CachedEncoder
from tests.support.minilm import minilm

TEXTS = ["What is 2 + 2?", "hello", "How much is two plus two?", "a much longer text about the sea and its ships " * 4]
MAKERS = {
    "onnx": lambda folder: minilm(),
    "hashed": lambda folder: HashedEncoder(),
    "text": lambda folder: TextFeatures(),
    "joined": lambda folder: JoinedEncoder([HashedEncoder(64), TextFeatures()], [1.0, 0.5]),
    "cached": lambda folder: CachedEncoder(HashedEncoder(64), folder / "vectors.db"),
}


@pytest.fixture(params=MAKERS)
def any_encoder(request, tmp_path):
    return MAKERS[request.param](tmp_path)


def test_vectors_are_float32_of_length_one(any_encoder):
    vectors = any_encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), any_encoder.dimensions)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_no_texts_give_no_rows(any_encoder):
    assert any_encoder.encode([]).shape == (0, any_encoder.dimensions)


def test_order_and_company_do_not_matter(any_encoder):
    alone = np.concatenate([any_encoder.encode([text]) for text in TEXTS * 8])
    np.testing.assert_allclose(any_encoder.encode(TEXTS * 8), alone, atol=1e-5)


def test_any_text_can_be_encoded(any_encoder):
    odd = ["", " ", "\x00", "a lone \ud800 surrogate", "日本語", "x" * 300_000, "word " * 100_000, "\n" * 100_000]
    assert np.isfinite(any_encoder.encode(odd)).all()


def test_threads_may_share_an_encoder(any_encoder):
    expected = any_encoder.encode(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: any_encoder.encode(TEXTS), range(8)):
            np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_it_is_found_again_by_its_fingerprint(any_encoder):
    found = find_encoder(any_encoder.fingerprint, [any_encoder])
    assert found.fingerprint == any_encoder.fingerprint
    np.testing.assert_array_equal(found.encode(TEXTS), any_encoder.encode(TEXTS))
