from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routers.base import Outcome
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.families.nearest import NearestRouter, best_shares
from tests.support.outcomes import specialists

ENCODER = HashedEncoder(256)


def table(*rewards, **fields):
    return RewardTable.of([Outcome(str(i), row, **fields) for i, row in enumerate(rewards)])


def test_the_best_experts_share_a_querys_vote():
    shares = best_shares(table({"a": 1.0, "b": 1.0, "c": 0.0}, {"a": 0.2, "b": 0.3}))
    assert shares.tolist() == [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]


def test_an_expert_not_tried_gets_no_vote_even_where_all_earned_nothing():
    assert best_shares(table({"a": 0.0, "b": 0.0, "c": 1.0}, {"a": 0.0}))[1].tolist() == [1.0, 0.0, 0.0]


def test_a_vote_counts_by_its_importance_weight():
    assert best_shares(table({"a": 1.0}, propensity={"a": 0.25})).tolist() == [[4.0]]


@given(st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=3, max_size=3), min_size=1, max_size=8))
def test_every_query_has_one_vote(rewards):
    shares = best_shares(table(*(dict(zip("abc", row, strict=True)) for row in rewards)))
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-6)


def test_the_expert_with_most_votes_is_expected_to_earn_most():
    """Its lead in a vote is small, and there are more of those: how much better it was does not count."""
    angles = np.linspace(0.0, 1.0, 60)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    rewards = [{"a": 0.0, "b": 1.0} if i % 3 == 0 else {"a": 0.6, "b": 0.5} for i in range(60)]
    a, b = NearestRouter(encoder=ENCODER).fit_encoded(table(*rewards), vectors).predict_encoded(vectors).T
    assert (a > b).all()


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_expected_rewards_are_about_what_is_earned(share):
    """Also with gaps."""
    dice = np.random.default_rng(0)
    outcomes = [
        replace(found, rewards={name: r for name, r in found.rewards.items() if dice.random() >= share})
        for found in specialists()
    ]
    found = RewardTable.of(outcomes)
    vectors = ENCODER.encode(found.queries)
    predicted = NearestRouter(encoder=ENCODER).fit_encoded(found, vectors).predict_encoded(vectors)
    assert np.nanmean(np.abs(predicted - found.rewards)) < 0.15
