"""Experts that rate their own fitness: fixed weights at first, then calibrated by outcomes."""

import numpy as np
import pytest

from routers.artifact import load_artifact, save_artifact
from routers.base import ExpertCard, Outcome
from routers.data.table import RewardTable
from routers.families.self_select import SelfSelectRouter

CARDS = (ExpertCard("modest"), ExpertCard("braggart"), ExpertCard("silent"))
NAN = float("nan")


def assessed(*rows):
    """Each row: (likelihood, yes) of modest and braggart; the silent one says nothing."""
    return np.array([[*row, (NAN, NAN)] for row in rows], dtype=np.float32)


def world(n=200, seed=0):
    """The braggart always says yes. Whoever says it a little more than usual is right; likelihoods are noise."""
    dice = np.random.default_rng(seed)
    outcomes, rows = [], []
    for i in range(n):
        modest_can = bool(dice.random() < 0.5)
        rewards = {"modest": float(modest_can), "braggart": float(not modest_can), "silent": 0.3}
        outcomes.append(Outcome(f"q{i}", rewards))
        noise = dice.normal(-1.0, 0.1, 2)
        rows.append(((noise[0], 0.3 if modest_can else 0.2), (noise[1], 0.8 if modest_can else 0.9)))
    return RewardTable.of(outcomes, [card.name for card in CARDS]), assessed(*rows)


def test_before_outcomes_yes_counts_and_silence_is_worth_nothing():
    scores = SelfSelectRouter(experts=CARDS).fit().predict_assessed(assessed([(-1.0, 0.3), (-1.0, 0.9)]))
    np.testing.assert_allclose(scores, [[0.3, 0.9, 0.0]], atol=1e-3)


def test_before_outcomes_a_text_that_is_likelier_for_an_expert_speaks_for_it():
    scores = SelfSelectRouter(experts=CARDS).fit().predict_assessed(assessed([(-0.9, 0.5), (-1.1, 0.5)]))
    np.testing.assert_allclose(scores[0, :2], [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))], atol=1e-5)


def test_a_text_that_is_unlikely_for_all_speaks_against_nobody():
    router = SelfSelectRouter(experts=CARDS).fit()
    plain, strange = router.predict_assessed(assessed([(-0.9, 0.5), (-1.1, 0.6)], [(-4.9, 0.5), (-5.1, 0.6)]))
    np.testing.assert_allclose(plain, strange, atol=1e-5)


@pytest.mark.parametrize("yes", [0.0, 1.0])
def test_certainty_is_not_infinite(yes):
    scores = SelfSelectRouter(experts=CARDS).fit().predict_assessed(assessed([(NAN, yes), (NAN, NAN)]))
    assert 0.0 < scores[0, 0] < 1.0
    assert scores[0, 1] == 0.0


def test_calibration_weighs_each_expert_against_its_own_habit():
    table, assessments = world()
    router = SelfSelectRouter(experts=CARDS).fit_assessed(table, assessments)
    unseen, asked = world(seed=1)
    choice = router.predict_assessed(asked).argmax(axis=1)
    earned = unseen.rewards[np.arange(len(unseen)), choice].mean()
    assert earned > 0.95
    untrained = SelfSelectRouter(experts=CARDS).fit().predict_assessed(asked).argmax(axis=1)
    assert (untrained == 1).mean() > 0.95


def test_calibrated_scores_are_rewards():
    table, assessments = world()
    router = SelfSelectRouter(experts=CARDS).fit_assessed(table, assessments)
    np.testing.assert_allclose(router.predict_assessed(assessments).mean(axis=0), table.means, atol=0.03)
    assert router.predict(["unasked"])[0, 2] == pytest.approx(0.3)


def test_small_signals_count_by_how_much_they_vary():
    """Two personas over one model differ by hundredths of a nat."""
    dice = np.random.default_rng(0)
    right = dice.random(100) < 0.5
    outcomes = [Outcome(f"q{i}", {"modest": float(r), "braggart": float(not r)}) for i, r in enumerate(right)]
    rows = [((-1.0 + 0.01 * r, NAN), (-1.0 + 0.01 * (not r), NAN)) for r in right]
    table, assessments = RewardTable.of(outcomes, [card.name for card in CARDS]), assessed(*rows)
    router = SelfSelectRouter(experts=CARDS).fit_assessed(table, assessments)
    assert ((router.predict_assessed(assessments)[:, :2].argmax(axis=1) == 0) == right).all()


def test_assessments_are_handed_in_as_a_callable():
    asked = []

    def assess(queries, experts):
        asked.append((list(queries), list(experts)))
        return np.full((len(queries), len(experts), 2), 0.5, dtype=np.float32)

    router = SelfSelectRouter(assess=assess).fit(
        [Outcome("a", {"x": 1.0, "y": 0.0}), Outcome("b", {"x": 1.0, "y": 0.0})]
    )
    scores = router.predict(["c"])
    assert asked == [(["a", "b"], ["x", "y"]), (["c"], ["x", "y"])]
    assert scores[0, 0] > scores[0, 1]


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_rewards_that_are_all_alike_teach_no_weights(reward):
    table = RewardTable.of([Outcome("a", {"modest": reward})], [card.name for card in CARDS])
    router = SelfSelectRouter(experts=CARDS).fit_assessed(table, assessed([(-1.0, 0.5), (NAN, NAN)]))
    assert np.isfinite(router.predict_assessed(assessed([(-1.0, 0.5), (-1.0, 0.5)]))).all()


def test_an_expert_that_comes_later_rates_itself_too():
    table, assessments = world()
    router = SelfSelectRouter(experts=CARDS).fit_assessed(table, assessments)
    router.add_expert(ExpertCard("newcomer"), [Outcome("q", {"newcomer": 0.7})])
    low, high = router.predict_assessed(
        np.array([[(NAN, NAN)] * 3 + [(-1.0, yes)] for yes in (0.2, 0.9)], dtype=np.float32)
    )
    assert high[3] > low[3]
    assert router.predict(["unasked"])[0, 3] == pytest.approx(0.7)
    with pytest.raises(ValueError, match="knows the expert 'newcomer' already"):
        router.add_expert(ExpertCard("newcomer"))


def test_what_was_learned_is_kept(tmp_path):
    table, assessments = world()
    router = SelfSelectRouter(experts=CARDS, assess=lambda queries, experts: assessments).fit_assessed(
        table, assessments
    )
    save_artifact(tmp_path / "a", router, card="")
    loaded = load_artifact(tmp_path / "a", experts=CARDS).router
    np.testing.assert_array_equal(loaded.predict_assessed(assessments), router.predict_assessed(assessments))


def test_nobody_at_all_is_an_error():
    with pytest.raises(ValueError, match="needs experts, or outcomes"):
        SelfSelectRouter().fit()
