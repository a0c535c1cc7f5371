"""RouterDC: who is contrasted with whom, and that a query comes to lie near the experts that do well on it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from routers.encoders import HashedEncoder
from routers.families.contrastive import ContrastiveRouter, contrasted, expert_loss, sample_loss
from tests.support.outcomes import specialists

NAN = np.nan


def contrast(*rewards, positives=1, negatives=1):
    good, bad = contrasted(np.array([rewards], dtype=np.float32), positives, negatives)
    return good[0].tolist(), bad[0].tolist()


def test_the_best_and_the_worst_are_contrasted():
    assert contrast(0.1, 0.9, 0.5, 0.6) == ([0, 1, 0, 0], [1, 0, 0, 0])
    assert contrast(0.1, 0.9, 0.5, 0.8, positives=2, negatives=2) == ([0, 1, 0, 1], [1, 0, 1, 0])


def test_experts_that_tie_share_the_places():
    assert contrast(1.0, 0.0, 1.0, 0.0) == ([0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5])


def test_no_expert_is_both_good_and_bad():
    assert contrast(1.0, 1.0, 0.0, positives=9, negatives=9) == ([1, 1, 0], [0, 0, 1])


def test_equal_rewards_tell_nothing():
    assert contrast(0.7, 0.7, 0.7) == ([0, 0, 0], [0, 0, 0])


def test_experts_that_were_not_tried_are_neither():
    assert contrast(NAN, 0.9, 0.1) == ([0, 1, 0], [0, 0, 1])
    assert contrast(NAN, 0.9, NAN) == ([0, 0, 0], [0, 0, 0])


@given(
    arrays(np.float32, (6, 5), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0, NAN]).map(np.float32)),
    st.integers(1, 6),
    st.integers(1, 6),
)
@settings(deadline=None)
def test_places_are_as_many_as_asked_for_at_most(rewards, positives, negatives):
    good, bad = contrasted(rewards, positives, negatives)
    assert (good.sum(axis=1) <= positives + 1e-5).all()
    assert (bad.sum(axis=1) <= negatives + 1e-5).all()
    assert not (good * bad).any()
    assert not (good + bad)[np.isnan(rewards)].any()


def test_the_expert_loss_by_hand():
    """Two positives, one negative at the same place: each has half."""
    value, slope = expert_loss(np.zeros((1, 3), np.float32), np.float32([[1, 1, 0]]), np.float32([[0, 0, 1]]))
    assert value == pytest.approx(2 * np.log(2))
    np.testing.assert_allclose(slope, [[-0.5, -0.5, 1.0]], rtol=1e-6)


def test_a_query_without_contrast_has_no_loss():
    value, slope = expert_loss(np.float32([[3.0, 1.0]]), np.float32([[1, 0]]), np.zeros((1, 2), np.float32))
    assert value == 0.0
    np.testing.assert_array_equal(slope, [[0.0, 0.0]])


@given(st.integers(0, 1_000))
@settings(max_examples=20, deadline=None)
def test_the_sample_loss_falls_along_its_gradient(seed):
    dice = np.random.default_rng(seed)
    places = dice.standard_normal((30, 4)).astype(np.float64)
    loss = sample_loss(dice.integers(0, 3, 30), temperature=0.5, seed=seed)
    value, slope = loss(places)
    step = 1e-4 / np.linalg.norm(slope)
    assert loss(places - step * slope)[0] == pytest.approx(value - step * (slope**2).sum(), abs=1e-4)
    assert loss(places - step * slope)[0] < value


def test_clusters_of_one_have_no_sample_loss():
    assert sample_loss(np.arange(4), 1.0, 0)(np.eye(4, dtype=np.float32))[0] == 0.0
    assert sample_loss(np.zeros(4, dtype=np.intp), 1.0, 0)(np.eye(4, dtype=np.float32))[0] == 0.0


@pytest.mark.parametrize("positives", [1, 3])
def test_each_kind_of_query_goes_to_its_expert(positives):
    router = ContrastiveRouter(encoder=HashedEncoder(256), positives=positives).fit(specialists())
    scores = router.predict(["What is 12 * 7?", "Tell me a riddle about a horse"])
    assert [router.experts_[i] for i in scores.argmax(axis=1)] == ["calculator", "poet"]
    np.testing.assert_allclose(np.sort(scores, axis=1), [[0.2, 0.9], [0.2, 0.9]], atol=0.2)
