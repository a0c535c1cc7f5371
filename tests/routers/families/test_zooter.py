"""Zooter: shares of rewards, enhanced by tags."""

import numpy as np
import pytest

from routers.base import Outcome
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.families.zooter import ZooterRouter, reward_shares, share_divergence
from tests.support.outcomes import CHATS, SUMS, specialists

NO_TAGS = np.zeros(2, dtype=np.intp)


def test_shares_are_the_softmax_of_rewards():
    table = RewardTable.of([Outcome("x", {"a": 1.0, "b": 0.0}), Outcome("y", {"a": 0.5, "b": 0.5})])
    shares = reward_shares(table, NO_TAGS, tag_share=0.0, temperature=0.5)
    odds = np.exp(2.0)
    np.testing.assert_allclose(shares, [[odds / (odds + 1), 1 / (odds + 1)], [0.5, 0.5]], rtol=1e-5)


def test_equal_rewards_share_alike_whatever_the_order():
    table = RewardTable.of([Outcome("x", {"a": 1.0, "b": 1.0, "c": 0.0})])
    a, b, c = reward_shares(table, NO_TAGS[:1], tag_share=0.0, temperature=0.2)[0]
    assert a == b > c


def test_a_tag_lends_its_mean():
    """Twenty pseudo-rows of the overall mean, 0.5, and twenty queries of the tag, 1.0: its mean is 0.75."""
    rows = [Outcome(f"x{i}", {"a": 1.0, "b": 0.0}) for i in range(20)]
    rows += [Outcome(f"y{i}", {"a": 0.0, "b": 1.0}) for i in range(20)]
    table, tags = RewardTable.of(rows), np.repeat([0, 1], 20)
    alone = reward_shares(table, tags, tag_share=1.0, temperature=1.0)
    np.testing.assert_allclose(np.log(alone[0, 0] / alone[0, 1]), 0.75 - 0.25, rtol=1e-4)
    mixed = reward_shares(table, tags, tag_share=0.5, temperature=1.0)
    np.testing.assert_allclose(np.log(mixed[0, 0] / mixed[0, 1]), 0.5 * 1.0 + 0.5 * 0.5, rtol=1e-4)


def test_the_tags_mean_stands_in_where_an_expert_was_not_tried():
    rows = [Outcome(f"x{i}", {"a": 0.8, "b": 0.2}) for i in range(20)] + [Outcome("gap", {"a": 0.8})]
    shares = reward_shares(RewardTable.of(rows), np.zeros(21, dtype=np.intp), tag_share=0.0, temperature=1.0)
    np.testing.assert_allclose(shares[-1], shares[0], rtol=1e-5)


def test_the_divergence_is_least_where_outputs_give_the_shares():
    shares = np.float32([[0.7, 0.2, 0.1]])
    value, slope = share_divergence(shares)(np.log(shares) + 3.0, np.arange(1))
    np.testing.assert_allclose(slope, 0.0, atol=1e-6)
    assert value < share_divergence(shares)(np.zeros((1, 3), dtype=np.float32), np.arange(1))[0]


@pytest.mark.parametrize("head", ["linear", "mlp"])
@pytest.mark.parametrize("tags", ["given", "mined"])
def test_each_kind_of_query_goes_to_its_expert(head, tags):
    router = ZooterRouter(encoder=HashedEncoder(256), head=head, tags=tags).fit(specialists())
    calculator = router.experts_.index("calculator")
    scores = router.predict(["What is 12 * 7?", "Tell me a riddle about a horse"])
    assert scores[:, calculator].tolist() == [scores.max(axis=1)[0], scores.min(axis=1)[1]]


def test_what_is_predicted_is_a_reward_and_not_a_share():
    router = ZooterRouter(encoder=HashedEncoder(256)).fit(specialists())
    scores = router.predict([*SUMS[:40], *CHATS[:40]])
    assert scores.max(axis=1).mean() == pytest.approx(0.9, abs=0.1)
    assert scores.min(axis=1).mean() == pytest.approx(0.2, abs=0.1)


def test_outcomes_of_one_expert_each_are_enough():
    """A log of decisions tells of each query what one expert did; the tags' means make up for the rest."""
    rows = [
        Outcome(o.query, dict([list(o.rewards.items())[i % 2]]), group=o.group) for i, o in enumerate(specialists())
    ]
    router = ZooterRouter(encoder=HashedEncoder(256)).fit(rows)
    chosen = [router.experts_[i] for i in router.predict(["What is 12 * 7?", "Tell me a riddle"]).argmax(axis=1)]
    assert chosen == ["calculator", "poet"]


def test_an_expert_that_is_always_worst_has_a_share_that_can_be_calculated_with():
    """At this temperature its share is 0 in float32."""
    outcomes = [Outcome(f"question {i}", {"a": 1.0, "b": 0.0}) for i in range(30)]
    router = ZooterRouter(encoder=HashedEncoder(64), temperature=0.001).fit(outcomes)
    a, b = router.predict(["question 3"])[0]
    assert a > b
