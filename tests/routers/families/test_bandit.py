import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routers.artifact import load_artifact, save_artifact
from routers.base import ExpertCard, Outcome
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.families.bandit import MEAN_ROWS, BanditRouter

ENCODER = HashedEncoder(64)
SUMS = [f"What is {a} + {b}?" for a in range(3, 9) for b in range(3, 8)]
CHATS = [f"Tell me a {kind} about {what}" for kind in ("joke", "story", "poem") for what in ("cats", "rain", "a train")]
OUTCOMES = [Outcome(query, {"sums": 0.9, "chats": 0.2}) for query in SUMS] + [
    Outcome(query, {"sums": 0.1, "chats": 0.8}) for query in CHATS
]
ALIKE = [Outcome(query, {"known": float(i % 2), "other": float(i % 2)}) for i, query in enumerate(SUMS)]


def fitted(outcomes=OUTCOMES, **parameters):
    return BanditRouter(encoder=ENCODER, **parameters).fit(outcomes)


def test_it_is_the_ridge_regression_of_rewards_on_the_principal_components():
    rows, penalty = len(OUTCOMES), 3.0
    vectors = ENCODER.encode([outcome.query for outcome in OUTCOMES]).astype(np.float64)
    centred = vectors - vectors.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:5].T
    features = np.column_stack([np.ones(rows), centred @ axes])
    rewards = np.array([outcome.rewards["sums"] for outcome in OUTCOMES])
    overall = np.mean([list(outcome.rewards.values()) for outcome in OUTCOMES])
    gram = features.T @ features + np.diag([MEAN_ROWS, *[penalty] * 5])
    expected = features @ np.linalg.solve(gram, features.T @ rewards + MEAN_ROWS * overall * np.eye(6)[0])
    router = fitted(components=5, penalty=penalty)
    np.testing.assert_allclose(router.predict(SUMS + CHATS)[:, 0], expected, atol=1e-4)


def test_feedback_and_outcomes_teach_the_same():
    """Updates one by one, in any order, end where a fit on everything would."""
    table = RewardTable.of(OUTCOMES)
    vectors = ENCODER.encode(table.queries)
    whole, online = fitted(), fitted(prior_rows=0)
    for i in reversed(range(len(table))):
        for column, name in enumerate(table.experts):
            online.update_encoded(vectors[i : i + 1], [name], [float(table.rewards[i, column])])
    np.testing.assert_allclose(online.weights_, whole.weights_, atol=1e-6)
    np.testing.assert_allclose(online.covariances_, whole.covariances_, atol=1e-6)
    assert online.num_updates_ == 2 * len(table)


def test_without_prior_rows_nothing_is_known_but_the_mean_of_all():
    router = fitted(prior_rows=0)
    overall = np.mean([list(outcome.rewards.values()) for outcome in OUTCOMES])
    np.testing.assert_allclose(router.predict(SUMS), overall, atol=1e-5)


def test_the_fewer_rows_the_prior_counts_for_the_faster_feedback_moves_it():
    moved = []
    for prior_rows in (None, 10.0):
        router = fitted(prior_rows=prior_rows)
        before = router.predict(SUMS[:1])[0, 0]
        router.update(SUMS[:1] * 5, ["sums"] * 5, [0.0] * 5, [1.0] * 5)
        moved.append(before - router.predict(SUMS[:1])[0, 0])
    assert 0.0 < moved[0] < moved[1]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(SUMS + CHATS), st.floats(0.0, 1.0)), min_size=1, max_size=8))
def test_every_reward_makes_its_expert_surer_and_no_other(rewards):
    router = fitted()
    _, before = router.predict(SUMS + CHATS, return_std=True)
    queries, values = zip(*rewards, strict=True)
    router.update(queries, ["chats"] * len(queries), values, [0.5] * len(queries))
    _, after = router.predict(SUMS + CHATS, return_std=True)
    np.testing.assert_array_equal(before[:, 0], after[:, 0])
    assert (after[:, 1] <= before[:, 1] + 1e-7).all()
    assert after[:, 1].sum() < before[:, 1].sum()


def test_the_bonus_is_so_many_standard_errors():
    mean, std = fitted(ALIKE).predict(CHATS, return_std=True)
    with_bonus = fitted(ALIKE, exploration="bonus", width=0.5).predict(CHATS)
    np.testing.assert_allclose(with_bonus, mean + 0.5 * std, atol=1e-6)


def test_who_was_tried_less_is_explored():
    router = fitted(ALIKE, exploration="bonus", width=2.0)
    router.update(SUMS, ["known"] * len(SUMS), [0.5] * len(SUMS), [1.0] * len(SUMS))
    known, other = router.predict(SUMS[:1])[0]
    assert known < other


def test_exploration_leaves_alone_who_may_be_much_worse_than_the_best_single_expert():
    router = fitted(ALIKE, exploration="bonus", margin=0.2)
    for _ in range(3):
        router.update(SUMS, ["other"] * len(SUMS), [0.0] * len(SUMS), [1.0] * len(SUMS))
    mean, std = fitted_like(router).predict(SUMS, return_std=True)
    scores = router.predict(SUMS)
    np.testing.assert_allclose(scores[:, 0], mean[:, 0] + std[:, 0], atol=1e-6)
    np.testing.assert_allclose(scores[:, 1], mean[:, 1], atol=1e-6)


def fitted_like(router):
    """The same, without exploration."""
    plain = fitted(ALIKE)
    plain.weights_, plain.covariances_ = router.weights_, router.covariances_
    return plain


def test_draws_differ_by_query_and_by_update_and_are_repeatable():
    router = fitted(ALIKE, exploration="draw")
    first = router.predict(CHATS)
    np.testing.assert_array_equal(router.predict(CHATS), first)
    mean, std = fitted(ALIKE).predict(CHATS, return_std=True)
    draws = (first - mean) / std
    assert len(np.unique(draws.round(4))) == draws.size
    assert abs(draws.mean()) < 1.0
    router.update(["something else"], ["known"], [0.5], [1.0])
    assert (router.predict(CHATS) != first).all()


def test_optimism_beyond_one_does_not_make_experts_equal():
    outcomes = [Outcome(query, {"good": 1.0, "better": 1.0}) for query in SUMS]
    router = fitted(outcomes, exploration="bonus", width=5.0)
    router.update(SUMS, ["good"] * len(SUMS), [1.0] * len(SUMS), [1.0] * len(SUMS))
    good, better = router.predict(SUMS[:1])[0]
    assert good < better <= 1.0


@pytest.mark.parametrize(
    ("expert", "reward", "propensity", "message"),
    [
        ("nobody", 1.0, 1.0, "unknown expert 'nobody', expected one of sums, chats"),
        ("sums", 1.5, 1.0, "reward and a propensity from 0 to 1, got 1.5"),
        ("sums", float("nan"), 1.0, "got nan"),
        ("sums", 1.0, -0.5, "got 1.0 and -0.5"),
    ],
)
def test_what_can_not_be_learned_from_is_an_error_and_changes_nothing(expert, reward, propensity, message):
    router = fitted()
    before = router.predict(SUMS)
    with pytest.raises(ValueError, match=message):
        router.update(SUMS[:2], ["sums", expert], [0.0, reward], [1.0, propensity])
    np.testing.assert_array_equal(router.predict(SUMS), before)


def test_a_newcomer_starts_as_what_it_is_described_like_and_is_unsure():
    cards = [ExpertCard("sums", description="exact arithmetic"), ExpertCard("chats", description="small talk")]
    router = BanditRouter(experts=cards, encoder=ENCODER).fit(OUTCOMES)
    router.add_expert(ExpertCard("newcomer", description="exact arithmetic"))
    mean, std = router.predict(SUMS[:1], return_std=True)
    assert abs(mean[0, 2] - mean[0, 0]) < abs(mean[0, 2] - mean[0, 1])
    assert std[0, 2] > max(std[0, :2])
    router.update(SUMS, ["newcomer"] * len(SUMS), [0.0] * len(SUMS), [1.0] * len(SUMS))
    assert router.predict(SUMS[:1])[0, 2] < 0.3


def test_an_artifact_goes_on_learning_where_the_router_stood(tmp_path):
    router = fitted(exploration="bonus")
    router.update(SUMS[:3], ["chats"] * 3, [1.0] * 3, [1.0] * 3)
    save_artifact(tmp_path / "a", router, card="# a bandit")
    loaded = load_artifact(tmp_path / "a", encoders=[ENCODER]).router
    for each in (router, loaded):
        each.update(CHATS[:2], ["sums"] * 2, [0.5, 0.0], [1.0, 1.0])
    np.testing.assert_array_equal(loaded.predict(SUMS + CHATS), router.predict(SUMS + CHATS))


def test_a_reward_without_its_query_is_an_error():
    with pytest.raises(ValueError, match="longer"):
        fitted().update(SUMS[:1], ["sums", "sums"], [1.0, 1.0], [1.0, 1.0])
