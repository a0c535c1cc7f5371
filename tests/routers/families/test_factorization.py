"""Queries' traits times experts' abilities."""

import numpy as np
import pytest

from routers.artifact import load_artifact, save_artifact
from routers.base import ExpertCard, Outcome
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.families.factorization import FactorizationRouter

ABILITIES = {"north": (0.4, 0.0), "south": (-0.4, 0.0), "east": (0.0, 0.4), "west": (0.0, -0.4), "both": (0.3, 0.3)}
"""What each expert gains per unit of either of two traits."""


class Compass:
    """A text is two numbers, and its vector points there."""

    fingerprint = "compass"
    dimensions = 3

    def encode(self, texts):
        rows = [[float(part) for part in text.split()] for text in texts]
        points = np.column_stack([np.array(rows).reshape(len(texts), 2), np.ones(len(texts))])
        return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def reward(name, vector):
    return float(np.clip(0.5 + np.array(ABILITIES[name]) @ vector[:2], 0.0, 1.0))


def outcomes(n=300, names=tuple(ABILITIES), tried=1.0):
    dice = np.random.default_rng(0)
    texts = [f"{x:.4f} {y:.4f}" for x, y in dice.normal(size=(n, 2))]
    for text, vector in zip(texts, Compass().encode(texts), strict=True):
        rewards = {name: reward(name, vector) for name in names if dice.random() < tried}
        if rewards:
            yield Outcome(text, rewards)


def fitted(rows, **parameters):
    return FactorizationRouter(encoder=Compass(), **({"penalty": 0.1} | parameters)).fit(list(rows))


NORTH, EAST = "2.0 0.0", "0.0 2.0"


def test_it_recovers_rewards_of_low_rank():
    router = fitted(outcomes(), rank=2)
    asked = ["1.0 0.5", "-0.7 0.3", NORTH]
    wanted = [[reward(name, vector) for name in router.experts_] for vector in Compass().encode(asked)]
    np.testing.assert_allclose(router.predict(asked), wanted, atol=0.03)


def test_missing_cells_are_filled_from_other_experts():
    """One cell in five is enough, because what the experts have in common is learned from all."""
    router = fitted(outcomes(n=600, tried=0.2), rank=2)
    best = router.predict([NORTH, EAST]).argmax(axis=1)
    assert [router.experts_[column] for column in best] == ["north", "east"]


def test_a_new_expert_is_learned_from_a_few_outcomes_and_the_others_stay():
    router = fitted(outcomes(names=("south", "east", "west", "both")), rank=2)
    before = router.predict([NORTH, EAST])
    few = list(outcomes(n=12, names=("north",)))
    router.add_expert(ExpertCard("north"), few)
    after = router.predict([NORTH, EAST])
    np.testing.assert_array_equal(after[:, :4], before)
    assert router.experts_ == ("south", "east", "west", "both", "north")
    assert after[0].argmax() == 4
    assert after[1].argmax() != 4


def test_more_outcomes_make_it_surer():
    stds = []
    for n in (0, 5, 50):
        router = fitted(outcomes(names=("south", "east", "west", "both")))
        router.add_expert(ExpertCard("north"), list(outcomes(n=n, names=("north",))))
        stds.append(router.predict([NORTH], return_std=True)[1][0, -1])
    assert stds[0] > stds[1] > stds[2] > 0.0


def test_a_description_says_what_an_expert_can_do_before_anything_is_known_of_it():
    """Cards are read by the same encoder; here a description is a direction."""
    cards = [ExpertCard(name, description=f"{10 * x} {10 * y}") for name, (x, y) in ABILITIES.items()]
    router = fitted(outcomes(names=("south", "east", "west", "both")), experts=cards[1:], rank=2)
    router.add_expert(cards[0])
    blank = fitted(outcomes(names=("south", "east", "west", "both")), experts=cards[1:], rank=2)
    blank.add_expert(ExpertCard("north"))
    towards, away = router.predict([NORTH, "-2.0 0.0"])[:, -1] - blank.predict([NORTH, "-2.0 0.0"])[:, -1]
    assert towards > 0.02
    assert away < -0.02


def test_an_expert_without_outcomes_is_about_average():
    router = fitted(outcomes(names=("south", "east", "west")))
    router.add_expert(ExpertCard("new"))
    scores = router.predict([NORTH, EAST])
    np.testing.assert_allclose(scores[:, 3], scores[:, :3].mean(axis=1), atol=0.02)


def test_a_reward_that_is_none_is_an_error():
    router = fitted(outcomes(n=50))
    with pytest.raises(ValueError, match="expected 0 to 1"):
        router.add_expert(ExpertCard("new"), [Outcome(NORTH, {"new": 3.0})])


def test_experts_can_still_be_added_to_a_router_from_an_artifact(tmp_path):
    router = fitted(outcomes(names=("south", "east", "west", "both")))
    save_artifact(tmp_path / "a", router, card="")
    loaded = load_artifact(tmp_path / "a", encoders=[Compass()]).router
    few = list(outcomes(n=12, names=("north",)))
    for each in (router, loaded):
        each.add_expert(ExpertCard("north"), few)
    np.testing.assert_array_equal(loaded.predict([NORTH, EAST]), router.predict([NORTH, EAST]))


def test_one_expert_is_its_mean():
    table = RewardTable.of([Outcome(f"q{i}", {"a": 0.25}) for i in range(20)])
    vectors = HashedEncoder(32).encode(table.queries)
    router = FactorizationRouter(encoder=HashedEncoder(32)).fit_encoded(table, vectors)
    np.testing.assert_allclose(router.predict_encoded(vectors), 0.25, atol=1e-3)


LEVELS = {"east": 0.7, "west": 0.4, "south": 0.55, "north": 0.55}


def hard_and_easy(name, n):
    """Rewards of `name` and of two known experts, all of them 0.3 lower on every second query."""
    dice = np.random.default_rng(5)
    texts = [f"{x:.4f} {y:.4f}" for x, y in dice.normal(size=(n, 2))]
    for i, text in enumerate(texts):
        yield Outcome(text, {each: LEVELS[each] + 0.15 - 0.3 * (i % 2) for each in ("east", "west", name)})


def test_what_others_earned_on_the_same_queries_tells_how_hard_those_were():
    """All of its queries are hard ones, which is not the new expert's fault."""
    few = list(hard_and_easy("north", n=60))[1::2]
    alone = [Outcome(outcome.query, {"north": outcome.rewards["north"]}) for outcome in few]
    predicted = []
    for examples in (few, alone):
        router = fitted(hard_and_easy("south", n=300))
        router.add_expert(ExpertCard("north"), examples)
        predicted.append(router.predict([NORTH])[0, -1])
    assert predicted[0] == pytest.approx(0.55, abs=0.08)
    assert predicted[1] == pytest.approx(0.4, abs=0.08)
