"""What the routers read texts with: chosen by the fleet, kept while its files stay the same, and never missed in silence."""

import os
import re
from pathlib import Path

import pytest

from orchestrator.config import Config
from orchestrator.errors import ConfigError
from orchestrator.fleet.encoding import Encoders, training_encoder
from routers.encoders import HashedEncoder, JoinedEncoder, OnnxEncoder, TextFeatures
from routers.encoders.cache import CachedEncoder


def fleet(*names: str) -> Config:
    """ONNX embedding experts whose files are called after them."""
    files = {name: {"model": {"path": f"{name}.onnx"}, "tokenizer": {"path": f"{name}.json"}} for name in names}
    experts = [{"name": name, "backend": "onnx", **paths} for name, paths in files.items()]
    return Config.model_validate({"version": 1, "experts": [{"name": "echo", "backend": "echo"}, *experts]})


def write(folder: Path, name: str) -> None:
    for suffix in ("onnx", "json"):
        (folder / f"{name}.{suffix}").write_text("weights")


def test_the_first_embedding_expert_is_the_encoder(tmp_path):
    write(tmp_path, "a")
    write(tmp_path, "b")
    encoder = Encoders().of(fleet("a", "b"), tmp_path).default
    assert isinstance(encoder, OnnxEncoder)
    assert encoder.model == tmp_path / "a.onnx"


def test_missing_weights_are_told_in_the_log(tmp_path, caplog):
    assert isinstance(Encoders().of(fleet("a"), tmp_path).default, HashedEncoder)
    assert "routers can't read texts by the model of a" in caplog.text
    write(tmp_path, "b")
    assert isinstance(Encoders().of(fleet("a", "b"), tmp_path).default, OnnxEncoder)


def test_a_fleet_without_an_encoder_is_nothing_to_tell(tmp_path, caplog):
    assert isinstance(Encoders().of(fleet(), tmp_path).default, HashedEncoder)
    assert not caplog.text


def test_it_is_kept_until_its_files_change_or_another_comes_first(tmp_path):
    encoders = Encoders()
    assert encoders.of(fleet(), tmp_path).default is encoders.of(fleet(), tmp_path).default
    write(tmp_path, "a")
    write(tmp_path, "b")
    first = encoders.of(fleet("a"), tmp_path).default
    assert encoders.of(fleet("a", "b"), tmp_path).default is first
    assert encoders.of(fleet("b", "a"), tmp_path).default is not first
    again = encoders.of(fleet("a"), tmp_path).default
    os.utime(tmp_path / "a.json", ns=(1, 1))
    assert encoders.of(fleet("a"), tmp_path).default is not again


@pytest.mark.parametrize("damaged", ["model.onnx", "tokenizer.json"])
def test_a_damaged_file_is_a_value_error_that_names_it(tmp_path, damaged):
    tiny_onnx = pytest.importorskip("tests.support.tiny_onnx", exc_type=ImportError)
    model = tiny_onnx.write_cross_encoder(tmp_path / "model.onnx")
    tokenizer = tiny_onnx.write_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / damaged).write_bytes(b"damaged")
    with pytest.raises(ValueError, match=f"{damaged} can't be read"):
        OnnxEncoder(model, tokenizer).open()


def mixed_fleet() -> Config:
    """An embedding expert of each backend that routers can read with, and one that they can't."""
    experts = [
        {"name": "onnx", "backend": "onnx", "model": {"path": "onnx.onnx"}, "tokenizer": {"path": "onnx.json"}},
        {"name": "torch", "backend": "sentence-transformers", "model": "org/model", "context": 300},
        {"name": "api", "kind": "embedding", "backend": "openai", "base_url": "https://x.example/v1", "model": "m"},
        {"name": "echo", "kind": "embedding", "backend": "echo"},
        {"name": "chat", "backend": "openai", "base_url": "https://x.example/v1"},
    ]
    return Config.model_validate({"version": 1, "experts": experts})


def test_every_embedding_expert_that_can_be_read_with_is_offered(tmp_path):
    write(tmp_path, "onnx")
    by_expert = Encoders().of(mixed_fleet(), tmp_path).by_expert
    assert list(by_expert) == ["onnx", "torch", "api"]
    assert by_expert["torch"].max_tokens == 300
    assert by_expert["api"].url == "https://x.example/v1"


def test_offered_encoders_are_kept_too(tmp_path):
    write(tmp_path, "onnx")
    encoders = Encoders()
    assert encoders.of(mixed_fleet(), tmp_path) == encoders.of(mixed_fleet(), tmp_path)


def test_training_reads_with_the_fleets_default_unless_told_otherwise(tmp_path):
    assert isinstance(training_encoder(None, mixed_fleet(), tmp_path), HashedEncoder)
    write(tmp_path, "onnx")
    encoder = training_encoder(None, mixed_fleet(), tmp_path)
    assert isinstance(encoder, CachedEncoder)
    assert encoder.fingerprint == Encoders().of(mixed_fleet(), tmp_path).default.fingerprint


def test_features_are_named(tmp_path):
    write(tmp_path, "onnx")

    def named(features: str):
        return training_encoder(features, mixed_fleet(), tmp_path)

    assert named("hashed").dimensions == 4096
    assert named("hashed:1024").dimensions == 1024
    assert isinstance(named("text"), TextFeatures)
    assert named("onnx:256").fingerprint.endswith("-256")
    assert named("torch").fingerprint.startswith("sentence-transformers-")
    joined = named("onnx:64 + 0.5*hashed + .25*text")
    assert isinstance(joined, JoinedEncoder)
    assert joined.weights == (1.0, 0.5, 0.25)


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("minilm", "'minilm' is nothing that texts can be read with; expected one of hashed, text, onnx, torch, api"),
        ("echo", "'echo' is nothing that texts can be read with"),
        ("hashed+", "got '', expected NAME, NAME:NUMBER or WEIGHT\\*NAME"),
        ("hashed:0", "got 'hashed:0', expected"),
        ("0*hashed", "got the weight 0 for 'hashed'"),
        ("api:256", "'api' takes no number; expected 'api' alone"),
        ("text:3", "'text' takes no number"),
        ("onnx", "onnx.onnx is not there yet"),
    ],
)
def test_features_that_are_none_are_an_error_that_says_what_was_expected(tmp_path, features, expected):
    with pytest.raises(ConfigError, match=f"^features '{re.escape(features)}': .*{expected}"):
        training_encoder(features, mixed_fleet(), tmp_path)
