import numpy as np
import pytest

from routers.base import Outcome
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.families.knn import KnnRouter

ENCODER = HashedEncoder(64)
VECTORS = np.array([[1, 0], [0.8, 0.6], [0, 1]], dtype=np.float32)


def table(*rewards):
    return RewardTable.of([Outcome(str(i), row) for i, row in enumerate(rewards)])


def fitted(rewards, vectors=VECTORS, **parameters):
    return KnnRouter(encoder=ENCODER, **parameters).fit_encoded(table(*rewards), vectors)


def test_neighbours_count_by_similarity_and_the_mean_by_pseudo_rows():
    router = fitted([{"a": 1.0}, {"a": 0.0}, {"a": 0.2}], k=2, temperature=0.5, pseudo_rows=1.0)
    share = np.exp(-0.2 / 0.5)  # the second is 0.2 less similar than the nearest
    expected = 0.4 + ((1.0 - 0.4) + share * (0.0 - 0.4)) / (1.0 + share + 1.0)
    assert router.predict_encoded(VECTORS[:1]) == pytest.approx(expected, abs=1e-6)


def test_an_expert_is_judged_by_the_neighbours_it_was_tried_on():
    router = fitted([{"a": 1.0}, {"a": 0.5, "b": 0.5}, {"b": 0.1}], k=2, temperature=100.0, pseudo_rows=1e-6)
    assert router.predict_encoded(VECTORS[:1])[0] == pytest.approx([0.75, 0.5], abs=0.01)


def test_an_outcome_counts_by_its_importance_weight():
    rewards = [Outcome("0", {"a": 1.0}, propensity={"a": 0.25}), Outcome("1", {"a": 0.0}), Outcome("2", {"a": 0.0})]
    router = KnnRouter(encoder=ENCODER, k=3, temperature=1000.0, pseudo_rows=1e-6)
    router.fit_encoded(RewardTable.of(rewards), VECTORS)
    assert router.predict_encoded(VECTORS[:1]) == pytest.approx(4 / 6, abs=0.01)


def test_uncertainty_falls_with_what_is_near():
    vectors = np.repeat(VECTORS[[0, 2]], [30, 2], axis=0)
    rewards = [{"a": float(i % 2)} for i in range(len(vectors))]
    router = fitted(rewards, vectors, k=31, temperature=0.05, pseudo_rows=1.0)
    _, std = router.predict_encoded(VECTORS[[0, 2]], return_std=True)
    assert std[0, 0] < std[1, 0] / 2


@pytest.mark.parametrize(("is_local", "pseudo_rows"), [(True, 1.0), (False, 1000.0)])
def test_the_mean_is_trusted_the_more_the_less_neighbours_tell(is_local, pseudo_rows):
    """The first expert is better on one half of the circle, or on average and nothing else can be known."""
    dice = np.random.default_rng(0)
    angles = dice.uniform(0.0, 2.0 * np.pi, 600)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    odds = np.where(angles < np.pi, 0.9, 0.1) if is_local else np.full(600, 0.55)
    rewards = [{"a": float(dice.random() < p), "b": 0.5} for p in odds]
    assert fitted(rewards, vectors).settings_[0] == pseudo_rows


def test_what_is_given_is_not_chosen():
    router = fitted([{"a": 1.0}, {"a": 0.0}, {"a": 0.2}], k=7, temperature=0.3)
    assert router.settings_[1:] == (0.3, 7)


def test_one_outcome_leaves_much_uncertain():
    """Its own variance is 0; with the one row of variance 0.25 that everyone has, sqrt((0.25 / 2) / (1 + 1))."""
    router = KnnRouter(encoder=ENCODER, k=1, temperature=1.0, pseudo_rows=1.0)
    router.fit_encoded(table({"a": 1.0}), VECTORS[:1])
    _, std = router.predict_encoded(VECTORS[:1], return_std=True)
    assert std == pytest.approx(0.25)
