"""Parameters chosen by cross-validation."""

import numpy as np
import pytest

from routers.base import Outcome
from routers.data.table import RewardTable
from routers.parts.tuning import best_setting, earnings


def table(n):
    """`b` is the better one for odd queries."""
    return RewardTable.of([Outcome(f"query {i}", {"a": 0.6, "b": float(i % 2)}) for i in range(n)])


def odd(rows):
    return np.array([[int(query.split()[1]) % 2] for query in rows.queries], dtype=np.float32)


def predict(knows, fitted, vectors, asked):
    """One setting reads the vector, the other does not."""
    return np.column_stack([np.full(len(asked), 0.6), asked[:, 0] if knows else np.zeros(len(asked))])


def test_the_setting_that_earns_most_on_held_out_queries_wins():
    rows = table(60)
    assert best_setting((False, True), predict, rows, odd(rows), default=False, seed=0)


def test_the_first_of_equals_wins():
    rows = table(60)
    same = best_setting(
        ("first", "second"), lambda *args: predict(True, *args[1:]), rows, odd(rows), default="", seed=0
    )
    assert same == "first"


def test_few_texts_are_no_ground_for_a_choice():
    rows = table(10)
    assert best_setting((False, True), predict, rows, odd(rows), default=False, seed=0) is False


def test_earnings_without_gaps_are_the_rewards_of_the_choice():
    np.testing.assert_allclose(earnings(table(4), np.array([0, 1, 1, 0])), [0.6, 1.0, 0.0, 0.6], atol=1e-6)


def test_earnings_of_a_log_are_right_in_the_mean():
    """`a` gives 1 on half of the queries and 0 on the others, and the log shows the former four times as often."""
    dice = np.random.default_rng(0)
    shown = [(i, p) for i in range(4_000) if dice.random() < (p := 0.8 if i % 2 else 0.2)]
    outcomes = [Outcome(f"query {i}", {"a": float(i % 2)}, propensity={"a": p}) for i, p in shown]
    others = [Outcome(f"query {i}", {"b": 0.5}) for i in set(range(4_000)) - {i for i, _ in shown}]
    log = RewardTable.of([*outcomes, *others], "ab")
    assert np.nanmean(log.rewards[:, 0]) == pytest.approx(0.8, abs=0.02)
    assert earnings(log, np.zeros(len(log), dtype=np.intp)).mean() == pytest.approx(0.5, abs=0.03)
