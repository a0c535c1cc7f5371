"""One network for all experts."""

import numpy as np
import pytest

from routers.base import Outcome
from routers.encoders import HashedEncoder
from routers.families.mlp import MlpRouter
from tests.support.outcomes import CHATS, SUMS, noise, specialists


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_it_predicts_rewards_of_queries_it_has_not_seen(loss):
    rows = specialists()
    router = MlpRouter(encoder=HashedEncoder(256), loss=loss).fit(rows[::2])
    scores = router.predict([*SUMS[1::2], *CHATS[1::2]])
    calculator = scores[:, router.experts_.index("calculator")]
    half = len(SUMS[1::2])
    assert calculator[:half].mean() == pytest.approx(0.9, abs=0.1)
    assert calculator[half:].mean() == pytest.approx(0.2, abs=0.1)


def test_noise_is_not_learned():
    router = MlpRouter(encoder=HashedEncoder(256)).fit(list(noise()))
    scores = router.predict([outcome.query for outcome in noise(seed=1)])
    assert scores.std(axis=0).max() < 0.06
    assert (scores[:, router.experts_.index("a")] > scores[:, router.experts_.index("b")]).mean() > 0.95


def test_soft_rewards_are_learned_as_they_are():
    rows = [Outcome(query, {"a": 0.6, "b": 0.55}) for query in (*SUMS, *CHATS)]
    scores = MlpRouter(encoder=HashedEncoder(256)).fit(rows).predict(["What is 2 + 2?"])
    np.testing.assert_allclose(scores, [[0.6, 0.55]], atol=0.02)


def test_seeds_differ_and_each_repeats_itself():
    rows = specialists()
    one, again, other = (
        MlpRouter(encoder=HashedEncoder(256), seed=seed).fit(rows).predict(CHATS[:5]) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
