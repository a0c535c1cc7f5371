"""Decisions as arrays, and the means that leave a row out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.offpolicy.logs import Log, leave_one_out
from tests.support.decisions import log_of, two_topics

SEEDS = st.integers(0, 2**32 - 1)


def test_decisions_become_rows_and_experts_columns():
    log = log_of(("b", 0.5, {"a": 0.25, "b": 0.75}, 0.002), ("a", None, {"a": 1.0, "c": 0.0}))
    assert (log.experts, log.actions.tolist()) == (("a", "b", "c"), [1, 0])
    assert log.logged.tolist() == [0.75, 1.0]
    assert log.feasible.tolist() == [[True, True, False], [True, False, True]]
    assert (log.scored.tolist(), log.cents.tolist()) == ([True, False], [0.2, 0.0])


def test_feedback_rates_are_by_expert():
    chances = {"a": 0.5, "b": 0.25, "c": 0.25}
    log = log_of(("a", 1.0, chances), ("a", None, chances), ("b", 0.0, chances), ("a", 1.0, chances))
    assert log.feedback_rates.tolist() == [2 / 3, 1.0, 0.0]


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        ([], "at least one decision, got none"),
        ([("a", 1.0, {"a": 0.0, "b": 1.0})], "a propensity above 0 and up to 1"),
        ([("a", 1.0, {"a": 1.5})], "a propensity above 0 and up to 1"),
        ([("a", 1.0, {"a": float("nan")})], "a propensity above 0 and up to 1"),
        ([("a", 1.5, {"a": 1.0})], "rewards from 0 to 1"),
    ],
)
def test_a_log_that_can_not_be_is_an_error(decisions, message):
    with pytest.raises(ValueError, match=message):
        log_of(*decisions)


@given(SEEDS, st.integers(2, 12), st.integers(2, 4))
def test_each_row_is_given_the_means_of_the_others(seed, n, k):
    dice = np.random.default_rng(seed)
    actions, values, propensities = dice.integers(0, k, n), dice.random(n), dice.uniform(0.1, 1.0, n)
    values[dice.random(n) < 0.3] = np.nan
    found = leave_one_out(actions, values, propensities, k)
    for i in range(n):
        others = [j for j in range(n) if j != i and not np.isnan(values[j])]
        weights = [1 / propensities[j] for j in others]
        overall = np.average(values[others], weights=weights) if others else 0.5
        for action in range(k):
            of_it = [j for j in others if actions[j] == action]
            mean = np.average(values[of_it], weights=1 / propensities[of_it]) if of_it else overall
            assert found[i, action] == pytest.approx(mean)


def test_a_long_log_is_read_in_its_order():
    log = two_topics(500)
    assert isinstance(log, Log)
    assert log.queries[:2] == ("question 0", "question 1")
    assert len(log) == 500
