"""Any sentence-transformers model as an encoder; what needs torch is skipped without it."""

import sys

import pytest

from routers.encoders import SentenceTransformersEncoder, find_encoder


def model_folder(folder, weights=b"weights"):
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "1_Pooling" / "config.json").write_text("{}")
    return str(folder)


def test_a_folder_is_known_by_its_contents(tmp_path):
    one, copy = model_folder(tmp_path / "one"), model_folder(tmp_path / "copy")
    other = model_folder(tmp_path / "other", b"others")
    prints = [SentenceTransformersEncoder(model).fingerprint for model in (one, copy, other)]
    assert prints[0] == prints[1] != prints[2]


def test_a_name_on_the_hub_is_known_by_the_name():
    prints = {SentenceTransformersEncoder(name).fingerprint for name in ("org/a", "org/b")}
    assert len(prints) == 2


def test_the_same_model_with_another_limit_is_found(tmp_path):
    encoder = SentenceTransformersEncoder("org/a")
    longer = encoder.reading(512)
    assert find_encoder(longer.fingerprint, [encoder]) is longer
    assert longer.variant(encoder.fingerprint).max_tokens is None
    assert encoder.variant(SentenceTransformersEncoder("org/b").fingerprint) is None


def test_a_missing_dependency_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'switchyard-llm\[torch\]'"):
        SentenceTransformersEncoder("org/a").open()
