"""A mixture on disk: what is read is what was written, and what was damaged is refused."""

import json

import numpy as np
import pytest

from orchestrator.mixtures.artifact import Region, load_mixture, save_mixture
from orchestrator.mixtures.mixture import Mixture
from routers.artifact import ArtifactError
from routers.encoders import HashedEncoder
from tests.support.mixtures import CAPITALS, ENCODER, mixture, saved_mixture


def test_what_is_read_is_what_was_written(tmp_path):
    written, read = mixture(), load_mixture(saved_mixture(tmp_path / "mix"), [])
    assert read.encoder.fingerprint == ENCODER.fingerprint
    assert read.mixture.instructions == written.instructions
    assert read.mixture.demonstrations == written.demonstrations
    for name in ("centres", "vectors", "regions"):
        assert np.array_equal(getattr(read.mixture, name), getattr(written, name))


def test_a_person_can_read_its_instructions_and_what_they_earned(tmp_path):
    config = json.loads((saved_mixture(tmp_path / "mix") / "config.json").read_text())
    expected = {"instruction": "Reply with the city alone.", "demonstrations": 4, "reward": 0.75, "validated": 8}
    assert config["regions"][1] == expected


def test_any_text_can_be_a_demonstration(tmp_path):
    odd = type(CAPITALS[0])("line\nbreak \r \u2028", "\x85 ü")
    whole = Mixture(
        ("Go.",), np.ones((1, 256), np.float32), (odd,), np.ones((1, 256), np.float32), np.zeros(1, np.intp)
    )
    save_mixture(tmp_path / "mix", whole, encoder=ENCODER.fingerprint, regions=[Region("Go.", 1)])
    assert load_mixture(tmp_path / "mix", []).mixture.demonstrations == (odd,)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("config.json", lambda data: data.replace(b"the city", b"the town"), "does not match its fingerprint"),
        ("demonstrations.jsonl", lambda data: data.replace(b"Lima", b"Oslo"), "does not match its checksum"),
        ("weights.safetensors", lambda data: data[:-4], "damaged: expected sha256"),
    ],
)
def test_a_changed_file_is_refused(tmp_path, name, change, reason):
    path = saved_mixture(tmp_path / "mix") / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ArtifactError, match=f"{name}.*{reason}"):
        load_mixture(tmp_path / "mix", [])


@pytest.mark.parametrize("name", ["config.json", "demonstrations.jsonl", "weights.safetensors"])
def test_a_missing_file_is_named(tmp_path, name):
    (saved_mixture(tmp_path / "mix") / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name}: can't be read"):
        load_mixture(tmp_path / "mix", [])


def written(folder, **changes):
    parts = mixture()
    fields = {name: getattr(parts, name) for name in Mixture.__slots__} | changes
    regions = [Region(instruction, 1) for instruction in fields["instructions"]]
    save_mixture(folder, Mixture(**fields), encoder=ENCODER.fingerprint, regions=regions)
    return folder


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"centres": np.zeros((2, 3), np.float32)}, r"'centres' has the shape \(2, 3\), expected \(2, 256\)"),
        ({"vectors": np.zeros((1, 256), np.float32)}, "'vectors' has the shape"),
        ({"regions": np.full(10, 2)}, "in a region that there isn't"),
        ({"instructions": ("1 " * 400, "b")}, "takes more than 256 tokens"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(tmp_path, changes, reason):
    with pytest.raises(ArtifactError, match=reason):
        load_mixture(written(tmp_path / "mix", **changes), [])


def test_an_encoder_that_is_not_here_is_named(tmp_path):
    save_mixture(tmp_path / "mix", mixture(), encoder="onnx-0123456789abcdef-128", regions=[])
    with pytest.raises(ArtifactError, match="text encoder onnx-0123456789abcdef-128; the encoders that are here: none"):
        load_mixture(tmp_path / "mix", [])


def test_vectors_of_another_encoder_are_refused(tmp_path):
    regions = [Region(text, 1) for text in mixture().instructions]
    save_mixture(tmp_path / "mix", mixture(), encoder=HashedEncoder(128).fingerprint, regions=regions)
    with pytest.raises(ArtifactError, match=r"'centres' has the shape \(2, 256\), expected \(2, 128\)"):
        load_mixture(tmp_path / "mix", [])
