"""What the routers read texts with: chosen by the fleet, kept while its files stay the same, and never missed in silence."""

import os
from pathlib import Path

import pytest

from orchestrator.config import Config
from orchestrator.fleet.encoding import Encoders
from routers.encoders import HashedEncoder, OnnxEncoder


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
    encoder = Encoders().choose(fleet("a", "b"), tmp_path)
    assert isinstance(encoder, OnnxEncoder)
    assert encoder.model == tmp_path / "a.onnx"


def test_missing_weights_are_told_in_the_log(tmp_path, caplog):
    assert isinstance(Encoders().choose(fleet("a"), tmp_path), HashedEncoder)
    assert "routers can't read texts by the model of a" in caplog.text
    write(tmp_path, "b")
    assert isinstance(Encoders().choose(fleet("a", "b"), tmp_path), OnnxEncoder)


def test_a_fleet_without_an_encoder_is_nothing_to_tell(tmp_path, caplog):
    assert isinstance(Encoders().choose(fleet(), tmp_path), HashedEncoder)
    assert not caplog.text


def test_it_is_kept_until_its_files_change_or_another_comes_first(tmp_path):
    encoders = Encoders()
    assert encoders.choose(fleet(), tmp_path) is encoders.choose(fleet(), tmp_path)
    write(tmp_path, "a")
    write(tmp_path, "b")
    first = encoders.choose(fleet("a"), tmp_path)
    assert encoders.choose(fleet("a", "b"), tmp_path) is first
    assert encoders.choose(fleet("b", "a"), tmp_path) is not first
    again = encoders.choose(fleet("a"), tmp_path)
    os.utime(tmp_path / "a.json", ns=(1, 1))
    assert encoders.choose(fleet("a"), tmp_path) is not again


@pytest.mark.parametrize("damaged", ["model.onnx", "tokenizer.json"])
def test_a_damaged_file_is_a_value_error_that_names_it(tmp_path, damaged):
    tiny_onnx = pytest.importorskip("tests.support.tiny_onnx", exc_type=ImportError)
    model = tiny_onnx.write_cross_encoder(tmp_path / "model.onnx")
    tokenizer = tiny_onnx.write_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / damaged).write_bytes(b"damaged")
    with pytest.raises(ValueError, match=f"{damaged} can't be read"):
        OnnxEncoder(model, tokenizer).open()
