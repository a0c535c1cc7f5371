"""Artifacts that are whole, and all the ways in which one isn't."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from routers.artifact import ArtifactError, artifact_experts, artifact_fingerprint, load_artifact, save_artifact
from routers.encoders import HashedEncoder
from routers.registry import make_router
from tests.support.outcomes import specialists

ENCODER = HashedEncoder(64)


def saved(folder, type="linear"):
    router = make_router(type, experts=(), encoder=ENCODER, parameters={}).fit(specialists())
    save_artifact(folder, router, card="# a router")
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("whole") / "a")


def copied(whole, folder, name, data):
    """The artifact with other bytes in one file."""
    folder.mkdir()
    for path in whole.iterdir():
        (folder / path.name).write_bytes(data if path.name == name else path.read_bytes())
    return folder


def forged(whole, folder, change):
    """The artifact with another config, whose checksum is right."""
    body = json.loads((whole / "config.json").read_text())
    del body["fingerprint"]
    change(body)
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    body["fingerprint"] = hashlib.sha256(canonical).hexdigest()[:16]
    return copied(whole, folder, "config.json", json.dumps(body).encode())


def test_what_an_artifact_says_is_known_without_its_weights(whole):
    assert artifact_experts(whole) == ("calculator", "poet")
    assert artifact_fingerprint(whole) == load_artifact(whole).fingerprint


@given(st.sampled_from(["config.json", "weights.safetensors"]), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_flipped_bit_is_found(whole, tmp_path_factory, name, place, bit):
    data = bytearray((whole / name).read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    if name == "config.json" and _same(bytes(data), (whole / name).read_bytes()):
        return  # white space for other white space
    with pytest.raises(ArtifactError):
        load_artifact(copied(whole, tmp_path_factory.mktemp("flipped") / "a", name, bytes(data)))


def _same(one, other):
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_cut_short_is_found(whole, tmp_path, name, share):
    data = (whole / name).read_bytes()
    with pytest.raises(ArtifactError, match="damaged"):
        load_artifact(copied(whole, tmp_path / "a", name, data[: int(share * len(data))]))


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.pop("weights_sha256"),
        lambda body: body.pop("experts"),
        lambda body: body.update(router=[]),
        lambda body: body.update(metrics=None),
        lambda body: body.update(costs={"cents": 3}),
        lambda body: body["router"].update(learned=[]),
        lambda body: body["router"].update(type="no such type"),
        lambda body: body["router"].update(encoder="hashed-9999999999999-4096"),
        lambda body: body["router"]["parameters"].update(penalty="much"),
        lambda body: body["router"]["learned"].pop("weights_"),
        lambda body: body["router"]["learned"].update(weights_={"tensor": ["a"]}),
        lambda body: body["router"]["learned"].update(weights_={"tensor": "absent"}),
        lambda body: body["router"]["learned"].update(weights_={"nested": 3}),
        lambda body: body["router"]["learned"].update(weights_=nested(700)),
        lambda body: body["router"]["learned"].update(fitted_experts_=[1, 2]),
        lambda body: body["router"]["learned"].update(fitted_experts_=["poet", "calculator"]),
    ],
)
def test_a_config_that_was_forged_is_refused(whole, tmp_path, change):
    with pytest.raises(ArtifactError, match=r"can't be used|is not what was expected"):
        load_artifact(forged(whole, tmp_path / "a", change), encoders=[ENCODER])


def test_weights_that_are_no_numbers_are_refused(whole, tmp_path):
    weights = save({"weights_": np.full((64, 2), np.nan, np.float32), "intercepts_": np.zeros(2, np.float32)})
    folder = forged(whole, tmp_path / "a", lambda body: body.update(weights_sha256=hashlib.sha256(weights).hexdigest()))
    (folder / "weights.safetensors").write_bytes(weights)
    with pytest.raises(ArtifactError, match="expected finite numbers in 'weights_'"):
        load_artifact(folder)


def test_routers_in_a_router_are_restored(tmp_path):
    loaded = load_artifact(saved(tmp_path / "a", "auto")).router
    assert [member.type for member in loaded.members_] == ["tagged", "cluster"]


def test_an_artifact_takes_the_place_of_another_and_of_nothing_else(whole, tmp_path):
    folder = saved(tmp_path / "a", "mlp")
    assert load_artifact(saved(folder)).fingerprint == artifact_fingerprint(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").touch()
    with pytest.raises(ArtifactError, match="is there and is no artifact"):
        saved(tmp_path / "b")
