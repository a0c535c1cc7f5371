"""Which settings of a baseline are used, and how it is brought to a number of calls."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.fusion.matching import at_calls, best_settings
from evals.fusion.subsets import TopVote
from routers.fusing.table import Fused
from tests.support.recorded import recorded_answers

TABLE = recorded_answers({"a": 0.7, "b": 0.6, "c": 0.6, "d": 0.5}, n=300)
CURVE = TopVote().fit(TABLE).curve(TABLE)


@given(st.floats(1.0, 4.0))
def test_a_mixture_makes_the_calls_it_may_and_hardly_fewer(calls):
    made = at_calls(CURVE, TABLE, calls).calls.mean()
    assert calls - 1 / len(TABLE) <= made + 1e-9
    assert made <= calls + 1e-9


def test_a_mixture_is_one_of_two_neighbours_on_every_query():
    mixed = at_calls(CURVE, TABLE, 2.5)
    assert set(mixed.calls.tolist()) == {2, 3}
    lower = mixed.calls == 2
    assert (mixed.chosen[lower] == CURVE[1].chosen[lower]).all()
    assert (mixed.chosen[~lower] == CURVE[2].chosen[~lower]).all()


def test_who_is_mixed_into_which_depends_on_the_query_alone():
    order = np.random.default_rng(0).permutation(len(TABLE))
    shuffled = TABLE.rows(order)
    curve = TopVote().fit(TABLE).curve(shuffled)
    assert (at_calls(curve, shuffled, 2.5).calls == at_calls(CURVE, TABLE, 2.5).calls[order]).all()


def test_a_curve_is_used_at_its_ends_beyond_them():
    assert at_calls(CURVE[1:3], TABLE, 9.0) is CURVE[2]
    assert at_calls(CURVE[1:3], TABLE, 1.0) is CURVE[1]


def test_settings_that_a_mixture_of_others_beats_are_left_out():
    asked = [np.arange(4) < count for count in (1, 2, 3, 4)]
    rewards = [0.2, 0.25, 0.8, 0.7]
    right, wrong = (TABLE.rewards == value for value in (1, 0))
    both = right.any(axis=1) & wrong.any(axis=1)
    table = TABLE.rows(both)
    curve = [at_share(table, share, each) for share, each in zip(rewards, asked, strict=True)]
    assert best_settings(curve, table) == [0, 2]


def test_of_settings_with_equal_calls_the_one_that_earns_most_is_used():
    table = TABLE.rows((TABLE.rewards == 1).any(axis=1) & (TABLE.rewards == 0).any(axis=1))
    curve = [at_share(table, share, np.arange(4) < 1) for share in (0.3, 0.6, 0.5)]
    assert best_settings(curve, table) == [1]


def at_share(table, share, asked):
    """Right on a share of the queries, whoever would have had to be asked."""
    is_right = np.arange(len(table)) < share * len(table)
    chosen = np.where(is_right, table.rewards.argmax(axis=1), table.rewards.argmin(axis=1))
    return Fused(chosen, np.broadcast_to(asked, table.tried.shape))


def test_the_hull_of_a_real_curve_rises():
    kept = best_settings(CURVE, TABLE)
    earned = [CURVE[i].rewards(TABLE).mean() for i in kept]
    assert earned == sorted(earned)
    assert kept[0] == 0
    assert earned[-1] == pytest.approx(max(fused.rewards(TABLE).mean() for fused in CURVE))
