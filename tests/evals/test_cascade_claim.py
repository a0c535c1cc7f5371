"""What a cascade saves is counted at equal reward."""

import numpy as np
import pytest

from evals.claims.cascade import saved


def row(reward, cost, weak=0.4, strong=0.8):
    return np.array([[reward, cost, weak, 1.0, strong, 11.0]])


def test_a_cascade_as_good_as_the_strong_expert_is_compared_with_that():
    assert saved(row(0.8, 6.0)) == pytest.approx(5 / 11)
    assert saved(row(0.9, 6.0)) == pytest.approx(5 / 11)


def test_a_worse_one_is_compared_with_the_lot_that_earns_as_much():
    assert saved(row(0.6, 6.0)) == pytest.approx(0.0)
    assert saved(row(0.6, 5.0)) == pytest.approx(1 / 11)


def test_one_worse_than_the_weak_expert_has_the_weak_experts_cost_to_beat():
    assert saved(row(0.2, 2.0)) == pytest.approx(-1 / 11)


def test_where_the_strong_expert_is_no_better_the_weak_ones_cost_is_to_beat():
    assert saved(row(0.3, 6.0, weak=0.4, strong=0.4)) == pytest.approx(-5 / 11)
