import numpy as np
import pytest

from routers.base import ExpertCard, Outcome
from routers.encoders import HashedEncoder
from routers.families.retriever import PRIOR_ROWS, SHARPNESS, RetrieverRouter
from tests.support.outcomes import CHATS, SUMS, specialists

ENCODER = HashedEncoder(256)
SUM, CHAT = "What is 12 * 7?", "Tell me a story about a horse"


def fitted(outcomes=None, **parameters):
    return RetrieverRouter(encoder=ENCODER, **parameters).fit(specialists() if outcomes is None else outcomes)


def test_a_share_is_the_part_of_the_reward_that_is_the_experts_drawn_to_that_of_all_groups():
    router = fitted()
    overall = (len(SUMS) * 0.9 + len(CHATS) * 0.2) / (len(SUMS) + len(CHATS)) / 1.1
    chats, sums = router.shares_[router.experts_.index("calculator")]
    assert sums == pytest.approx((len(SUMS) * 0.9 / 1.1 + PRIOR_ROWS * overall) / (len(SUMS) + PRIOR_ROWS), abs=1e-5)
    assert chats == pytest.approx((len(CHATS) * 0.2 / 1.1 + PRIOR_ROWS * overall) / (len(CHATS) + PRIOR_ROWS), abs=1e-5)
    np.testing.assert_allclose(router.sizes_, [len(CHATS) / (len(CHATS) + len(SUMS)), router.sizes_[1]], atol=1e-6)


def test_a_pilot_is_the_mean_direction_of_the_queries_its_expert_was_good_at():
    """Each expert is right on every other sum: with a prior of 0 votes for sums, its pilot is their mean."""
    outcomes = [Outcome(query, {"even": float(i % 2 == 0), "odd": float(i % 2)}) for i, query in enumerate(SUMS)]
    router = fitted(outcomes, groups=1)
    vectors = ENCODER.encode(SUMS)
    for expert, rows in enumerate((vectors[::2], vectors[1::2])):
        mean = rows.sum(axis=0) + PRIOR_ROWS * 0.5 * router.centres_[0]
        np.testing.assert_allclose(router.pilots_[expert, 0], mean / np.linalg.norm(mean), atol=1e-5)


def test_the_nearest_pilots_decide_whose_query_it_is():
    router = fitted()
    calculator, poet = (router.experts_.index(name) for name in ("calculator", "poet"))
    sums, chats = router.predict([SUM, CHAT])
    assert sums[calculator] > sums[poet]
    assert chats[poet] > chats[calculator]


def test_without_sharpness_only_shares_count():
    router = fitted(sharpness=0.0)
    assert router.predict([SUM, CHAT]).argmax(axis=1).tolist() == [router.experts_.index("poet")] * 2


def test_queries_on_which_all_are_equal_send_nobody_ahead():
    """`first` would win every tie, if somebody had to win them."""
    ties = [Outcome(query, {"first": 1.0, "second": 1.0}) for query in SUMS]
    decided = [Outcome(query, {"first": 0.0, "second": 1.0}) for query in SUMS[:3]]
    router = fitted(ties + decided, groups=1)
    assert router.predict([SUM])[0].argmax() == router.experts_.index("second")


def test_what_was_not_tried_is_taken_to_earn_its_mean():
    """A lone reward is no proof of being the best: `often` was tried alone on queries that `good` does as well."""
    outcomes = [Outcome(query, {"good": 1.0, "often": 0.5}) for query in SUMS[:20]]
    outcomes += [Outcome(query, {"often": 0.5}) for query in SUMS[20:]]
    router = fitted(outcomes, groups=1)
    assert router.predict([SUM])[0].argmax() == router.experts_.index("good")


def test_expected_rewards_are_those_that_were_earned():
    router = fitted()
    scores = router.predict(SUMS)
    means = dict(zip(router.experts_, scores.mean(axis=0), strict=True))
    assert means == pytest.approx({"calculator": 0.9, "poet": 0.2}, abs=0.15)


def test_a_newcomer_gets_pilots_and_moves_nobody_elses():
    router = fitted()
    before = router.pilots_.copy(), router.shares_.copy()
    examples = [Outcome(query, {"tutor": 1.0, "calculator": 0.5}) for query in SUMS[:30]]
    router.add_expert(ExpertCard("tutor"), examples + [Outcome(query, {"tutor": 0.0}) for query in CHATS[:30]])
    assert router.experts_[-1] == "tutor"
    for found, kept in zip((router.pilots_, router.shares_), before, strict=True):
        np.testing.assert_array_equal(found[:-1], kept)
    assert router.predict([SUM, CHAT]).argmax(axis=1).tolist() == [2, router.experts_.index("poet")]


def test_a_newcomer_without_examples_is_like_those_it_is_described_like():
    cards = [ExpertCard("calculator", description="exact arithmetic"), ExpertCard("poet", description="small talk")]
    router = RetrieverRouter(experts=cards, encoder=ENCODER).fit(specialists())
    router.add_expert(ExpertCard("abacus", description="exact arithmetic"))
    sums, chats = router.predict([SUM, CHAT])
    assert sums[2] > sums[1]
    assert chats[2] < chats[1]


def test_a_newcomer_that_earns_most_is_chosen():
    outcomes = [Outcome(query, {"a": 0.4, "b": 0.5}) for query in SUMS]
    router = fitted(outcomes, groups=1)
    router.add_expert(ExpertCard("c"), [Outcome(query, {"a": 0.4, "b": 0.5, "c": 1.0}) for query in SUMS])
    assert router.predict([SUM])[0].argmax() == 2


def test_sharpness_is_chosen_on_held_out_queries_unless_it_is_given():
    assert fitted().sharpness_ == SHARPNESS[0]
    assert fitted(sharpness=3.0).sharpness_ == 3.0
