"""From outcomes to an artifact: what is fitted, judged, refused and written."""

import numpy as np
import pytest

from routers.artifact import ArtifactError, load_artifact
from routers.base import ExpertCard, Outcome
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.encoders.cache import CachedEncoder
from routers.registry import ROUTERS
from routers.training.fitting import TrainingSettings, WorseThanBestSingle, train, write_trained
from routers.training.judging import judge, training_summary
from tests.support.outcomes import CHATS, SUMS, noise, specialists

ENCODER = HashedEncoder(512)
SPECIALISTS = RewardTable.of(specialists())


def trained(table=SPECIALISTS, type="linear", **settings):
    return train(table, TrainingSettings(type, **settings), encoder=ENCODER)


@pytest.mark.parametrize("settings", [{}, {"folds": 3}])
def test_a_router_that_tells_queries_apart_beats_the_best_single_expert(settings):
    made = trained(**settings)
    assert made.evaluation.best_single == "poet"
    assert made.evaluation.gain.low > 0.1
    assert made.objection is None
    assert made.summary.num_queries == len(SPECIALISTS), "in the end it is fitted on all"


def test_the_same_seed_gives_the_same_artifact(tmp_path):
    fingerprints = {write_trained(trained(seed=seed), tmp_path / f"{i}") for i, seed in enumerate((3, 3, 4))}
    assert len(fingerprints) == 2


def test_a_router_of_noise_is_refused_and_can_be_forced(tmp_path):
    made = trained(RewardTable.of(noise()), parameters={"penalty": 0.01})
    with pytest.raises(WorseThanBestSingle, match=r"reward less than the best single expert, 'a' \(95%: -.* --force"):
        write_trained(made, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert write_trained(made, tmp_path / "a", force=True)


def test_an_artifact_knows_how_it_was_made(tmp_path):
    write_trained(trained(parameters={"penalty": 2.0}), tmp_path / "a")
    artifact = load_artifact(tmp_path / "a")
    assert artifact.router.penalty == 2.0
    assert training_summary(artifact).rewards.keys() == {"calculator", "poet"}
    card = (tmp_path / "a" / "card.md").read_text()
    for text in (
        "type `linear`",
        "calculator, poet",
        "hashed-512-4096",
        "Gain over the best single expert, `poet`",
        "| sums |",
    ):
        assert text in card


def test_a_split_of_the_data_is_not_trained_on(tmp_path):
    table = RewardTable.of([*specialists(split="train")[:140], *specialists(split="test")[140:]])
    made = trained(table)
    assert made.how == "the split in the data"
    assert made.summary.num_queries == sum(split == "train" for split in table.splits)


def test_cards_say_what_outcomes_do_not():
    cards = [ExpertCard("poet", description="poems"), ExpertCard("not in the outcomes")]
    made = train(SPECIALISTS, TrainingSettings("linear"), encoder=ENCODER, cards=cards)
    assert made.router.experts_ == ("calculator", "poet")
    assert made.router.experts[1].description == "poems"


def test_routers_that_take_no_table_are_told_of_propensities():
    """`a` was tried four times as often as it was asked for where it does badly."""
    rows = [Outcome(f"good {i}", {"a": 1.0}, propensity={"a": 0.2}) for i in range(40)]
    rows += [Outcome(f"bad {i}", {"a": 0.0}, propensity={"a": 0.8}) for i in range(160)]
    made = trained(RewardTable.of(rows), type="best_single")
    assert made.router.scores_[0] == pytest.approx(0.5, abs=1e-6)


def test_routers_that_take_no_table_are_trained_as_well():
    made = trained(type="best_single")
    assert made.router.experts_ == ("calculator", "poet")
    assert made.evaluation.gain.mean == 0.0
    assert "not shown to be better" in made.notes[-1]


def test_a_router_with_a_seed_gets_it_unless_it_is_set():
    assert trained(type="random", seed=5).router.seed == 5
    assert trained(type="random", seed=5, parameters={"seed": 7}).router.seed == 7


def test_the_cache_stays_behind(tmp_path):
    cached = CachedEncoder(ENCODER, tmp_path / "vectors.db")
    made = train(SPECIALISTS, TrainingSettings("linear"), encoder=cached)
    assert made.router.encoder is ENCODER
    assert cached.path.is_file()


def priced(**more):
    for outcome in specialists():
        yield Outcome(outcome.query, outcome.rewards, costs={"calculator": 0.01, "poet": 0.001}, **more)


def test_lambda_is_reward_per_cent():
    """The calculator costs 0.9 cents more and earns 0.7 more on sums."""
    shares = {la: trained(RewardTable.of(priced()), lambda_=la).evaluation.share["poet"] for la in (0.0, 0.1, 1.0)}
    assert shares[0.0] == shares[0.1] < shares[1.0] == 1.0


def test_lambda_needs_costs_that_are_worth_something():
    with pytest.raises(ValueError, match="no outcome has one"):
        trained(lambda_=1.0)
    letters = RewardTable.of(priced(cost_unit="letters"))
    with pytest.raises(ValueError, match="costs are in 'letters': say with --usd-per-unit"):
        trained(letters, lambda_=1.0)
    made = trained(letters, lambda_=1.0, usd_per_unit=1.0)
    assert made.evaluation.share["poet"] == 1.0
    assert made.costs.predict(["What is 1 + 1?"], ["poet"])[0, 0] == pytest.approx(0.1)


def test_one_expert_is_nothing_to_route():
    made = trained(SPECIALISTS.only(["poet"]))
    assert (made.evaluation.gain.mean, made.notes[-1]) == (0.0, "there is one expert: nothing to route")


def test_equal_rewards_give_a_router_that_is_no_worse():
    made = trained(RewardTable.of(Outcome(query, {"a": 0.5, "b": 0.5}) for query in SUMS + CHATS))
    assert made.objection is None
    assert made.evaluation.gain.mean == 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TrainingSettings("liner"), "unknown router type 'liner'"),
        (TrainingSettings("linear", {"penality": 3}), "unknown parameter 'penality'"),
    ],
)
def test_settings_that_are_wrong_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        settings.make((), ENCODER)


def test_a_folder_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ArtifactError, match="is there and is no artifact"):
        write_trained(trained(), tmp_path)


def reloaded(tmp_path):
    write_trained(trained(), tmp_path / "a")
    return load_artifact(tmp_path / "a")


def test_an_artifact_is_judged_by_the_yardsticks_of_its_training_data(tmp_path):
    """On sums alone the calculator is best, but the poet was in training."""
    sums = RewardTable.of(Outcome(f"What is {i} * {i + 3}?", {"calculator": 1.0, "poet": 0.0}) for i in range(60))
    judged = judge(reloaded(tmp_path), sums)
    assert judged.evaluation.best_single == "poet"
    assert judged.evaluation.gain.mean == judged.evaluation.reward.mean == 1.0
    assert judged.evaluation.decision_ms.p99 >= judged.evaluation.decision_ms.p50 > 0.0
    assert judged.notes == ()


def test_experts_that_only_one_side_knows_are_named(tmp_path):
    table = RewardTable.of(Outcome(f"What is {i} * 3?", {"newcomer": 1.0, "poet": 0.5}) for i in range(60))
    judged = judge(reloaded(tmp_path), table)
    assert judged.evaluation.share == {"poet": 1.0}
    assert judged.notes[:2] == (
        "unknown to the router and left out: newcomer",
        "not in these outcomes, so never chosen here: calculator",
    )


def test_an_artifact_of_another_fleet_is_an_error(tmp_path):
    with pytest.raises(
        ValueError, match="the router's experts are calculator, poet; the outcomes have x, none of them"
    ):
        judge(reloaded(tmp_path), RewardTable.of([Outcome("q", {"x": 1.0})]))


def test_its_own_training_data_is_recognised(tmp_path):
    judged = judge(reloaded(tmp_path), SPECIALISTS, reader=ENCODER)
    assert "these are the outcomes that the router was trained on" in judged.notes[0]


def test_few_queries_and_gaps_are_told(tmp_path):
    table = RewardTable.of(
        [Outcome("What is 5 * 3?", {"poet": 1.0}), Outcome("A poem", {"calculator": 1.0, "poet": 0.0})]
    )
    judged = judge(reloaded(tmp_path), table)
    assert "judged by 2 queries" in judged.notes[0]
    assert "was tried on 1 of 2 queries" in judged.notes[1]


def test_progress_is_told():
    stages = {}
    train(
        SPECIALISTS,
        TrainingSettings("linear", folds=2),
        encoder=ENCODER,
        progress=lambda stage, done, total: stages.setdefault(stage, []).append((done, total)),
    )
    assert stages["fitting"] == [(0, 2), (1, 2)]
    assert {"reading texts", "fitting on all"} <= stages.keys()
    assert np.array(stages["reading texts"])[:, 1].tolist() == [len(SPECIALISTS)] * len(stages["reading texts"])


@pytest.mark.parametrize("type", sorted(ROUTERS))
def test_every_router_of_the_registry_can_be_trained_and_judged(type, tmp_path):
    table = SPECIALISTS.rows(np.arange(0, len(SPECIALISTS), 3))
    made = train(
        table, TrainingSettings(type, {"order": ("poet",)} if type == "fixed" else {}), encoder=HashedEncoder(128)
    )
    write_trained(made, tmp_path / "a", force=True)
    judged = judge(load_artifact(tmp_path / "a"), SPECIALISTS)
    assert judged.evaluation.share.keys() == {"calculator", "poet"}
