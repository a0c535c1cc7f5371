"""Who is asked first, and when that is enough."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routers.cascade import climb, fit_threshold, is_sure
from routers.policy import Option, Settings, make_plan

CENTS = {"large": 3.0, "middle": 1.0, "small": 0.1, "tiny": 0.0}


def plan(**rewards):
    return make_plan([Option(name, reward) for name, reward in rewards.items()], Settings())


def rungs(rewards, judgeable=CENTS, steps=2):
    return climb(plan(**rewards), CENTS, judgeable=set(judgeable), steps=steps).rungs


def test_the_cheapest_comes_first_and_the_best_last():
    rewards = {"large": 0.9, "middle": 0.8, "small": 0.6, "tiny": 0.3}
    assert rungs(rewards) == ("tiny", "large")
    assert rungs(rewards, steps=3) == ("tiny", "middle", "large")
    assert rungs(rewards, steps=9) == ("tiny", "small", "middle", "large")


def test_only_who_can_be_judged_stands_before_another():
    rewards = {"large": 0.9, "middle": 0.8, "small": 0.6, "tiny": 0.3}
    assert rungs(rewards, judgeable=["small", "large"], steps=3) == ("small", "large")


def test_whoever_is_best_and_cheapest_has_the_second_best_behind_it():
    assert rungs({"tiny": 0.9, "large": 0.8, "small": 0.7}) == ("tiny", "large")


@pytest.mark.parametrize(
    ("rewards", "judgeable"),
    [({"small": 0.9}, ["small"]), ({"small": 0.9, "large": 0.8}, ["large"]), ({"large": 0.9, "tiny": 0.5}, [])],
    ids=["alone", "only a dearer one could be judged", "nobody can be judged"],
)
def test_where_nothing_can_be_saved_the_plan_stays(rewards, judgeable):
    before = plan(**rewards)
    assert climb(before, CENTS, judgeable=judgeable, steps=2) == before


def test_a_confidence_that_is_not_known_is_not_enough():
    assert is_sure(0.7, 0.7)
    assert not is_sure(0.69, 0.7)
    assert not is_sure(None, 0.0)


# Four queries; the weak expert is right where it is sure.
CONFIDENCE = np.array([0.9, 0.2, 0.8, 0.4], dtype=np.float32)
WEAK, STRONG = np.array([1, 0, 1, 0], dtype=np.float32), np.array([1, 1, 0, 1], dtype=np.float32)
WEAK_CENTS, STRONG_CENTS = np.full(4, 1.0, dtype=np.float32), np.full(4, 10.0, dtype=np.float32)
DATA = (CONFIDENCE, WEAK, STRONG, WEAK_CENTS, STRONG_CENTS)


def test_a_threshold_for_a_quality_costs_as_little_as_it_can():
    found = fit_threshold(*DATA, quality=0.75)
    assert (found.reward, found.cents, found.escalated) == (0.75, 3.5, 0.25)
    assert found.threshold == pytest.approx(0.3)


def test_a_threshold_for_a_budget_earns_as_much_as_it_can():
    found = fit_threshold(*DATA, budget=11.0)
    assert (found.reward, found.cents, found.threshold) == (1.0, 6.0, pytest.approx(0.6))
    assert fit_threshold(*DATA, budget=1.0).escalated == 0.0


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({}, "either a quality or a budget"),
        ({"quality": 0.5, "budget": 1.0}, "either a quality or a budget"),
        ({"quality": 1.1}, "best there is is a mean reward of 1.0000"),
        ({"budget": 0.5}, "best there is is 1 US cents a query"),
    ],
)
def test_a_target_that_cannot_be_met_is_an_error(target, message):
    with pytest.raises(ValueError, match=message):
        fit_threshold(*DATA, **target)


def test_no_outcomes_fit_no_threshold():
    with pytest.raises(ValueError, match="no query"):
        fit_threshold(*(column[:0] for column in DATA), quality=0.5)


ROWS = st.lists(
    st.tuples(
        st.integers(0, 5).map(lambda i: i / 5), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 5)
    ),
    min_size=1,
    max_size=30,
)


@given(ROWS, st.floats(0.0, 7.0))
def test_the_threshold_does_on_its_outcomes_what_it_says(rows, budget):
    confidence, weak, strong, weak_cents, strong_cents = np.array(rows, dtype=np.float64).T
    try:
        found = fit_threshold(confidence, weak, strong, weak_cents, strong_cents, budget=budget)
    except ValueError:
        assert weak_cents.mean() > budget
        return
    stands = np.array([is_sure(c, found.threshold) for c in confidence])
    assert np.where(stands, weak, strong).mean() == pytest.approx(found.reward)
    assert (weak_cents + np.where(stands, 0.0, strong_cents)).mean() == pytest.approx(found.cents)
    assert (~stands).mean() == pytest.approx(found.escalated)
    assert found.cents <= budget + 1e-6
