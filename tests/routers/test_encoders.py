import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from routers.encoders import HashedEncoder, OnnxEncoder
from tests.support.minilm import minilm

TEXTS = ["What is 2 + 2?", "hello", "How much is two plus two?", "a much longer text about the sea and its ships " * 4]


@pytest.fixture(scope="module")
def encoder():
    return minilm()


@pytest.fixture(params=["onnx", "hashed"])
def any_encoder(request):
    return request.getfixturevalue("encoder") if request.param == "onnx" else HashedEncoder()


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
    odd = ["", " ", "\x00", "a lone \ud800 surrogate", "日本語", "x" * 300_000, "word " * 100_000]
    assert np.isfinite(any_encoder.encode(odd)).all()


def test_threads_may_share_an_encoder(any_encoder):
    expected = any_encoder.encode(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: any_encoder.encode(TEXTS), range(8)):
            np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_what_lies_beyond_max_tokens_does_not_count():
    short = minilm(max_tokens=16)
    one, other = (" ".join(["word"] * 20 + [end]) for end in ("alpha", "omega"))
    vectors = short.encode([one, other])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_meaning_is_close_in_minilm(encoder):
    digits, _, words, sea = encoder.encode(TEXTS)
    assert digits @ words > 0.6 > 0.3 > digits @ sea


def test_cls_pooling_takes_the_first_token(encoder):
    vectors = minilm(pooling="cls").encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert not np.allclose(vectors, encoder.encode(TEXTS), atol=1e-2)


def test_fingerprints_tell_settings_apart(encoder):
    prints = {e.fingerprint for e in (encoder, minilm(pooling="cls"), minilm(max_tokens=64), HashedEncoder(64))}
    assert len(prints) == 4
    assert minilm(threads=2).fingerprint == encoder.fingerprint


def test_nothing_is_read_before_the_first_use():
    encoder = OnnxEncoder(Path("not-there.onnx"), Path("not-there.json"))
    with pytest.raises(FileNotFoundError):
        _ = encoder.fingerprint


def test_a_missing_dependency_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install 'switchyard-llm\[local\]'"):
        OnnxEncoder(Path("model.onnx"), Path("tokenizer.json")).open()
