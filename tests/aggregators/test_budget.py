"""What a panel may spend."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aggregators.budget import Budget, BudgetSpent


@given(
    limit=st.floats(0, 1),
    calls=st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 1)), max_size=20),
)
def test_no_order_of_calls_exceeds_it(limit: float, calls: list[tuple[float, float]]):
    """Each call costs a share of what it may cost at most; those refused cost nothing."""
    outer = Budget(usd=limit)
    inner = Budget(calls=5, within=outer)
    for most, share in calls:
        try:
            with inner.reserve(usd=most) as spent:
                spent.usd = most * share
        except BudgetSpent:
            continue
    assert inner.num_calls <= 5
    assert outer.num_calls == inner.num_calls
    assert outer.spent_usd <= limit + 1e-9


def test_calls_under_way_together_fit_it_even_if_each_costs_all_it_may():
    budget = Budget(usd=0.01)
    with budget.reserve(usd=0.006), pytest.raises(BudgetSpent, match=r"could cost 0\.006000 USD, and 0\.004000 USD"):  # noqa: SIM117
        with budget.reserve(usd=0.006):
            pass
    assert budget.usd_left == pytest.approx(0.01)


def test_the_panel_around_it_limits_it_too():
    outer = Budget(calls=2)
    inner = Budget(calls=9, within=outer)
    for _ in range(2):
        with inner.reserve(usd=0):
            pass
    assert inner.calls_left == 0
    with pytest.raises(BudgetSpent, match="the budget of 2 calls is spent"), inner.reserve(usd=0):
        pass


def test_without_limits_nothing_is_refused():
    budget = Budget()
    with budget.reserve(usd=1e9) as spent:
        spent.usd = 3.0
    assert (budget.calls_left, budget.usd_left, budget.spent_usd) == (None, None, 3.0)
