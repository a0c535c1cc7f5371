"""Recruiting experts, and choosing who combines their answers."""

import numpy as np
import pytest

from routers.base import Outcome
from routers.data.table import RewardTable
from routers.families.recruiting import choose_aggregator, recruit

SCORES = np.array([[0.9, 0.5, 0.4, 0.1], [0.2, 0.2, 0.8, 0.3]], dtype=np.float32)


def test_the_k_best_share_the_query():
    weights = recruit(SCORES, k=2)
    assert (weights > 0).tolist() == [[True, True, False, False], [False, False, True, True]]
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(weights[0, 0] / weights[0, 1], np.exp(0.4 / 0.5), rtol=1e-5)


def test_nobody_can_be_recruited_by_nobody():
    with pytest.raises(ValueError, match="k >= 1"):
        recruit(SCORES, k=0)


def measured(*rows):
    return RewardTable.of([Outcome(f"q{i}", rewards, group=group) for i, (group, rewards) in enumerate(rows)])


def test_the_aggregator_is_the_one_that_combines_best_in_each_group():
    law = [("law", {"large": 1.0, "small": 0.0})] * 40
    math = [("math", {"large": 0.0, "small": 1.0})] * 30
    choice = choose_aggregator(measured(*law, *math))
    assert (choice.overall, choice.by_group) == ("large", {"law": "large", "math": "small"})
    assert [choice.for_group(group) for group in ("math", "history", None)] == ["small", "large", "large"]


def test_one_lucky_combination_makes_no_aggregator():
    often = [("law", {"large": 0.8, "small": 0.2})] * 40
    choice = choose_aggregator(measured(*often, ("math", {"large": 0.0, "small": 1.0})))
    assert choice.for_group("math") == "large"


def test_a_candidate_that_never_combined_is_not_chosen():
    table = RewardTable.of([Outcome("q", {"large": 0.3})], ["unknown", "large"])
    assert choose_aggregator(table).overall == "large"


def test_nothing_measured_is_an_error():
    with pytest.raises(ValueError, match="no combination was measured"):
        choose_aggregator(RewardTable.of([]))
