"""Cascade routing: whom it asks first, when it goes on, and whose answer it takes."""

import numpy as np
import pytest

from evals.fusion.cascading import PRICES, CascadeRouting
from evals.fusion.skills import Skills
from routers.encoders import HashedEncoder
from routers.fusing.voting import same_answers, usable
from tests.support.recorded import recorded_answers

FOUR = {"even": 0.6, "algebraist": (0.85, 0.3), "poet": (0.3, 0.85), "weak": 0.35}


@pytest.fixture(scope="module")
def test():
    return recorded_answers(FOUR, n=500, seed=1, silent=0.1)


@pytest.fixture(scope="module")
def skills():
    return Skills(HashedEncoder(dimensions=128)).fit(recorded_answers(FOUR, n=600, silent=0.1))


@pytest.fixture(scope="module")
def curve(skills, test):
    return CascadeRouting(skills).fit(recorded_answers(FOUR, n=600, silent=0.1)).curve(test)


def test_calls_rise_as_their_price_falls(curve):
    calls = [fused.calls.mean() for fused in curve]
    assert list(PRICES) == sorted(PRICES, reverse=True)
    assert calls == sorted(calls)
    assert calls[-1] > 3


def test_a_dear_call_is_made_once_to_whom_the_router_expects_most_of(curve, skills, test):
    assert (curve[0].calls == 1).all()
    assert (curve[0].chosen == skills.routed(test.queries).argmax(axis=1)).all()


def test_what_was_asked_at_a_price_is_asked_at_a_lower_one(curve):
    """Experts come in the same order, so that only where it ends depends on the price."""
    first = curve[0].asked
    for fused in curve:
        assert (fused.asked & first).sum() == first.sum()


def test_an_unusable_answer_is_taken_only_where_all_are(curve, test):
    rows = np.arange(len(test))
    for fused in curve:
        taken, there = usable(test)[rows, fused.chosen], (usable(test) & fused.asked).any(axis=1)
        assert (taken == there).all()


def test_an_unusable_answer_makes_another_call_likelier(curve, test):
    first = curve[0].chosen
    speaks = usable(test)[np.arange(len(test)), first]
    fused = next(fused for fused in curve if fused.calls.mean() > 1.05)
    assert fused.calls[~speaks].mean() > fused.calls[speaks].mean() + 0.5


def test_the_answer_that_three_others_contradict_together_is_not_taken(curve, test):
    """With everybody asked, an answer that stands alone against three that agree."""
    same, asked = same_answers(test), curve[-1].asked.all(axis=1)
    alone = asked & (same.sum(axis=2) == 1).any(axis=1) & (same.sum(axis=2) == 3).any(axis=1)
    taken = same.sum(axis=2)[np.arange(len(test)), curve[-1].chosen]
    assert alone.sum() > 20
    assert (taken[alone] == 3).mean() > 0.9
