"""A depth for a trained router, and what it is said to earn."""

import numpy as np
import pytest

from routers.artifact import Artifact, load_artifact
from routers.base import Outcome
from routers.data.table import RewardTable
from routers.encoders.hashed import HashedEncoder
from routers.fusing.table import AnswerTable
from routers.training.deepening import advise
from routers.training.fitting import TrainingSettings, train, write_trained
from tests.support.recorded import recorded_outcomes

SKILLS = {"a": [0.75, 0.5], "b": [0.5, 0.7], "c": 0.6, "d": 0.6, "e": 0.55}


@pytest.fixture(scope="module")
def outcomes():
    return list(recorded_outcomes(SKILLS, n=400, silent=0.05))


@pytest.fixture(scope="module")
def artifact(outcomes, tmp_path_factory) -> Artifact:
    folder = tmp_path_factory.mktemp("router") / "router"
    trained = train(RewardTable.of(outcomes), TrainingSettings("linear"), encoder=HashedEncoder())
    write_trained(trained, folder, force=True)
    return load_artifact(folder, encoders=[HashedEncoder()])


@pytest.fixture(scope="module")
def others():
    return AnswerTable.from_outcomes(recorded_outcomes(SKILLS, n=300, seed=1, silent=0.05))


def test_calls_buy_reward_and_the_budget_holds_on_queries_it_was_not_chosen_by(artifact, others):
    advised = advise(artifact, others, budget=3.5)
    assert advised.n == 300
    assert 2.0 < advised.calls.mean < 3.7
    assert advised.gain.low > 0.0
    assert advised.gain.mean == pytest.approx(advised.reward.mean - advised.alone.mean, abs=1e-6)
    assert advised.notes == ()


def test_a_reward_is_reached_for_as_few_calls_as_it_takes(artifact, others):
    low, high = (advise(artifact, others, quality=quality) for quality in (0.68, 0.74))
    assert low.calls.mean < high.calls.mean
    assert high.reward.mean > low.reward.mean


def test_a_router_that_knows_the_outcomes_is_judged_by_others_like_it(outcomes, tmp_path):
    """One that goes by the nearest query finds each of these to be nearest to itself."""
    trained = train(
        RewardTable.of(outcomes),
        TrainingSettings("knn", {"k": 1, "temperature": 0.1, "pseudo_rows": 0.01}),
        encoder=HashedEncoder(),
    )
    write_trained(trained, tmp_path / "router", force=True)
    loaded, table = load_artifact(tmp_path / "router", encoders=[HashedEncoder()]), AnswerTable.from_outcomes(outcomes)
    advised = advise(loaded, table, budget=2.0)
    assert advised.alone.mean < 0.8 < table.rewards.max(axis=1).mean()
    assert advised.notes == (
        "the router was trained on these outcomes: they are judged by others like it, fitted without them",
    )


def test_a_panel_costs_a_call_for_each_member(artifact, others):
    alone, convened = (advise(artifact, others, budget=1.6, panel=panel) for panel in ((), ("a", "b", "c")))
    assert convened.calls.mean < 1.8
    assert convened.depth.sure <= alone.depth.sure


def test_experts_that_the_router_does_not_know_are_left_out(artifact, others):
    renamed = AnswerTable.from_outcomes(
        Outcome(query, {"a": 1.0, "new": 0.0}, answers={"a": "A", "new": "B"}) for query in others.queries
    )
    assert advise(artifact, renamed, budget=1.0).notes[0] == "unknown to the router and left out: new"


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"budget": 2.0, "panel": ("a", "z")}, "the panel's 'z' is unknown, expected some of a, b, c, d, e"),
        ({"quality": 0.99}, "no depth meets the target"),
    ],
)
def test_what_cannot_be_is_refused(artifact, others, targets, message):
    with pytest.raises(ValueError, match=message):
        advise(artifact, others, **targets)


def test_a_handful_of_queries_is_too_few(artifact, others):
    with pytest.raises(ValueError, match="expected from 2 to 3 folds"):
        advise(artifact, others.rows(np.arange(3)), budget=2.0)
