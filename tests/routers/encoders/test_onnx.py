"""A sentence encoder as ONNX: its settings, its fingerprint, and its files."""

import sys
from pathlib import Path

import numpy as np
import pytest

from routers.encoders import HashedEncoder, OnnxEncoder
from tests.support.minilm import minilm

TEXTS = ["What is 2 + 2?", "hello", "How much is two plus two?", "a much longer text about the sea and its ships " * 4]


@pytest.fixture(scope="module")
def encoder():
    return minilm()


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


def test_the_same_model_with_another_limit_is_one_object(encoder):
    longer = encoder.reading(256)
    assert longer is encoder.reading(256)
    assert encoder.reading(encoder.max_tokens) is encoder
    assert encoder.variant(longer.fingerprint) is longer
    assert longer.encode([TEXTS[0]]).shape == (1, encoder.dimensions)


def test_other_files_are_no_variant(encoder):
    cls = minilm(pooling="cls")
    assert encoder.variant(cls.fingerprint) is None
    assert encoder.variant("onnx-") is None


def test_nothing_is_read_before_the_first_use():
    encoder = OnnxEncoder(Path("not-there.onnx"), Path("not-there.json"))
    with pytest.raises(FileNotFoundError):
        _ = encoder.fingerprint


def test_a_missing_dependency_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install 'switchyard-llm\[local\]'"):
        OnnxEncoder(Path("model.onnx"), Path("tokenizer.json")).open()
