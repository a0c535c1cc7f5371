"""A learned fusion on disk."""

import json

import pytest

from routers.artifact import ArtifactError, load_artifact
from routers.encoders import HashedEncoder
from routers.fusing.artifact import read_fusion, read_judged_fusion, write_fusion
from routers.fusing.budget import Budget
from routers.fusing.evaluation import Reference, evaluate
from routers.fusing.fusion import Fusion
from tests.support.artifacts import trained
from tests.support.recorded import recorded_answers


@pytest.fixture(scope="module")
def judged(fusion, learned_from, unseen):
    return {"all calls": evaluate(fusion.fuse(unseen), unseen, Reference.of(learned_from))}


@pytest.fixture
def folder(tmp_path, fusion, learned_from, judged):
    write_fusion(tmp_path / "fusion", fusion, Reference.of(learned_from), judged)
    return tmp_path / "fusion"


def test_what_was_written_does_the_same(folder, fusion, unseen):
    loaded = read_fusion(folder)
    assert loaded.experts_ == fusion.experts_
    for budget in (Budget(), Budget(mean_calls=2), Budget(mean_cost=2.5), Budget(retry_unusable=True)):
        ours, theirs = loaded.fuse(unseen, budget), fusion.fuse(unseen, budget)
        assert (ours.chosen == theirs.chosen).all()
        assert (ours.asked == theirs.asked).all()
    assert loaded.has_seen(unseen.queries).sum() == 0


def test_it_says_what_it_is_measured_against(folder, learned_from):
    assert read_judged_fusion(folder)[1] == Reference.of(learned_from)


def test_the_card_says_how_it_did(folder, judged):
    card = (folder / "card.md").read_text()
    assert f"{judged['all calls'].accuracy.mean:.4f}" in card
    assert "| weighted vote | 0." in card


def test_the_same_fusion_has_the_same_fingerprint(folder, fusion, learned_from, judged, tmp_path):
    again = write_fusion(tmp_path / "again", fusion, Reference.of(learned_from), judged)
    assert again == json.loads((folder / "config.json").read_text())["fingerprint"]


def test_a_damaged_artifact_is_refused(folder):
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(ArtifactError, match="damaged: expected sha256"):
        read_fusion(folder)


def test_a_router_is_no_fusion_and_a_fusion_no_router(folder, tmp_path):
    router = trained(tmp_path / "router", good_at_sums="a", good_at_chat="b")
    with pytest.raises(
        ArtifactError, match=r"holds a router of type 'linear', expected what `switchyard fuse train` wrote"
    ):
        read_fusion(router)
    with pytest.raises(ArtifactError, match="unknown router type 'fusion'"):
        load_artifact(folder)


def test_costs_that_are_not_known_are_not_known_afterwards(tmp_path, judged):
    table = recorded_answers({"a": 0.8, "b": 0.4}, n=60)
    write_fusion(tmp_path / "plain", Fusion(encoder=HashedEncoder(64)).fit(table), Reference.of(table), judged)
    with pytest.raises(ValueError, match="what a call to 'a' costs is not known"):
        read_fusion(tmp_path / "plain").rule(Budget(mean_cost=1.0))


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="can't be read"):
        read_fusion(tmp_path / "nowhere")
