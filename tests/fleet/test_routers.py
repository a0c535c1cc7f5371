"""Trained routers in a fleet: what is loaded, for whom, with which features, and what is refused."""

import numpy as np
import pytest

from orchestrator.config import Config
from orchestrator.errors import ConfigError
from orchestrator.fleet.encoding import Encoders
from orchestrator.fleet.routers import make_scorers
from routers.artifact import CONFIG, WEIGHTS, save_artifact
from routers.base import ExpertCard, Outcome
from routers.data.outcomes import write_outcomes
from routers.encoders import HashedEncoder
from routers.families.baselines import BestSingleRouter
from routers.families.linear import LinearRouter
from tests.support.artifacts import CHATS, SUMS, outcomes, trained


def config_of(*experts, **router):
    """Echo experts, given by their names or as they would stand in the YAML, and a trained router `support`."""
    specs = [{"name": e} if isinstance(e, str) else e for e in experts]
    fleet = {"version": 1, "experts": [{"backend": "echo", **spec} for spec in specs]}
    return Config.model_validate({**fleet, "routers": {"support": {"artifact": "artifact", **router}}})


def scorers_of(folder, config):
    return make_scorers(config, Encoders().of(config, folder), folder)


@pytest.fixture
def folder(tmp_path):
    trained(tmp_path / "artifact", good_at_sums="b", good_at_chat="a", usd={"a": 0.001, "b": 0.02})
    return tmp_path


async def test_a_trained_router_scores_as_it_was_trained(folder):
    scorer = scorers_of(folder, config_of("a", "b"))["support", "chat"]
    sums, chat = await scorer.scores("What is 5 + 11?"), await scorer.scores("Tell me a joke about the sea")
    assert sums["b"] > 0.6 > 0.4 > sums["a"]
    assert chat["a"] > 0.6 > 0.4 > chat["b"]
    assert len(scorer.artifact) == 16
    assert scorer.costs.cents["b"] == pytest.approx((2.0, 0.0), abs=1e-4)
    await scorer.close()


async def test_experts_that_the_fleet_lacks_are_left_out(folder):
    scorer = scorers_of(folder, config_of("b"))["support", "chat"]
    assert list(await scorer.scores("What is 5 + 11?")) == ["b"]
    await scorer.close()


async def test_an_expert_that_came_later_is_added_by_what_it_says_of_itself(folder):
    scorer = scorers_of(folder, config_of("a", "b", "new"))["support", "chat"]
    assert set(await scorer.scores("What is 5 + 11?")) == {"a", "b", "new"}
    await scorer.close()


async def test_an_expert_that_came_later_is_learned_from_examples(folder):
    examples = [Outcome(q, {"new": 1.0}) for q in SUMS] + [Outcome(q, {"new": 0.0}) for q in CHATS]
    write_outcomes(folder / "new.jsonl", examples)
    scorer = scorers_of(folder, config_of("a", "b", "new", examples="new.jsonl"))["support", "chat"]
    assert (await scorer.scores("What is 5 + 11?"))["new"] > 0.6
    assert (await scorer.scores("Tell me a joke about the sea"))["new"] < 0.4
    await scorer.close()


async def test_a_router_that_cannot_learn_an_expert_says_so_and_scores_the_others(folder, caplog):
    router = BestSingleRouter(experts=(ExpertCard("a"), ExpertCard("b"))).fit(outcomes("b", "a"))
    save_artifact(folder / "artifact", router, card="# best single")
    scorer = scorers_of(folder, config_of("a", "b", "new"))["support", "chat"]
    assert set(await scorer.scores("What is 5 + 11?")) == {"a", "b"}
    assert "routers.support knows nothing of new" in caplog.text
    await scorer.close()


async def test_where_it_knows_no_expert_of_a_kind_skills_takes_its_place(folder):
    scorers = scorers_of(folder, config_of("a", "b", {"name": "vectors", "kind": "embedding"}))
    assert scorers["support", "embedding"].artifact is None
    assert list(await scorers["support", "embedding"].scores("hello")) == ["vectors"]
    assert scorers["support", "completion"] is scorers["support", "chat"]
    await scorers["support", "embedding"].close()


def test_a_router_for_another_fleet_is_refused(folder):
    with pytest.raises(ConfigError, match=r"routers\.support: .*trained for b, a, of which this fleet has none"):
        scorers_of(folder, config_of("x"))


class Elsewhere(HashedEncoder):
    """Features that no fleet has."""

    fingerprint = "onnx-0123456789abcdef-128"


def cut_short(data):
    return data[: len(data) // 2]


def bit_flipped(data):
    return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]


@pytest.mark.parametrize("file", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("damage", [cut_short, bit_flipped])
def test_a_damaged_artifact_is_refused(folder, file, damage):
    path = folder / "artifact" / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match=rf"routers\.support: .*{file}: damaged"):
        scorers_of(folder, config_of("a", "b"))


def test_features_that_are_not_here_are_refused(folder):
    trained(folder / "artifact", good_at_sums="b", good_at_chat="a", encoder=Elsewhere(64))
    with pytest.raises(
        ConfigError, match=r"routers\.support: .*text encoder onnx-0123456789abcdef-128; .*are here: none"
    ):
        scorers_of(folder, config_of("a", "b"))


def test_examples_that_are_no_outcomes_are_refused_with_their_line(folder):
    (folder / "new.jsonl").write_text('{"query": "q", "rewards": {"new": 1}}\n{"query": 3}\n')
    with pytest.raises(ConfigError, match=r"routers\.support: .*new\.jsonl:2: "):
        scorers_of(folder, config_of("a", "b", "new", examples="new.jsonl"))


def test_weights_of_another_shape_are_refused(folder):
    """The files are whole, but a prediction fails."""
    router = LinearRouter(encoder=HashedEncoder(64)).fit(outcomes("b", "a"))
    router.weights_ = np.zeros((3, 2), dtype=np.float32)
    save_artifact(folder / "artifact", router, card="# linear")
    with pytest.raises(ConfigError, match=r"routers\.support: "):
        scorers_of(folder, config_of("a", "b"))
