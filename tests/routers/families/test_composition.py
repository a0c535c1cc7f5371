"""A category, then its expert, under a budget."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from routers.base import Outcome
from routers.encoders import HashedEncoder
from routers.families.composition import CompositionRouter, assign

KINDS = {"add": "sums", "translate": "words", "write": "poems"}
QUERIES = ("add 55 and 99", "translate 99 apples", "write 99 poems")
REWARDS = {"sums": (0.8, 0.9), "words": (0.2, 0.9), "poems": (0.5, 0.6)}


def outcomes(groups=True, costs=(0.001, 0.01)):
    for i in range(40):
        for verb, group in KINDS.items():
            small, large = REWARDS[group]
            yield Outcome(
                f"{verb} {i} {group if verb == 'write' else 'things'}",
                {"small": small, "large": large},
                group=group if groups else None,
                costs=dict(zip(("small", "large"), costs, strict=True)) if costs else {},
            )


def fitted(rows=None, **parameters):
    return CompositionRouter(encoder=HashedEncoder(256), **parameters).fit(list(rows or outcomes()))


def chosen(router, queries=QUERIES):
    return [router.experts_[column] for column in router.predict(list(queries)).argmax(axis=1)]


def test_without_a_budget_each_category_has_its_best_expert_and_scores_are_its_means():
    scores = fitted(pseudo_rows=1e-3).predict(list(QUERIES))
    np.testing.assert_allclose(scores, list(REWARDS.values()), atol=0.01)


def test_a_budget_goes_where_it_buys_most():
    """One category in three may have the large expert, and translation gains most by it."""
    assert chosen(fitted(budget=4.1, sizes={"small": 1.0, "large": 10.0})) == ["small", "large", "small"]


def test_without_sizes_a_budget_is_on_the_costs_of_the_outcomes():
    assert chosen(fitted(budget=0.0041)) == ["small", "large", "small"]


def test_what_was_passed_over_scores_below_what_was_given():
    sums = fitted(budget=1.0, sizes={"small": 1.0, "large": 10.0}, pseudo_rows=1e-3).predict([QUERIES[0]])[0]
    assert sums[0] == pytest.approx(0.8, abs=0.01)
    assert sums[1] < sums[0]


def test_a_total_budget_bounds_what_is_in_memory():
    sizes = {"small": 1.0, "large": 10.0}
    assert set(chosen(fitted(total_budget=10.5, sizes=sizes))) == {"large"}
    assert set(chosen(fitted(total_budget=9.0, sizes=sizes))) == {"small"}


def test_uncertain_queries_have_an_expert_of_their_own():
    """Texts that two groups share are never certain; on these b is better, on what is certain a."""
    rows = [Outcome(f"alpha beta {i}", {"a": 0.9, "b": 0.1}, group="plain") for i in range(60)]
    rows += [Outcome(f"add {i} numbers", {"a": 0.9, "b": 0.1}, group="sums") for i in range(60)]
    unsure = [f"either this or that {i}" for i in range(60)]
    rows += [Outcome(text, {"a": 0.2, "b": 0.8}, group=("x", "y")[i % 2]) for i, text in enumerate(unsure)]
    assert chosen(fitted(rows, certainty=0.9), ["add 7 numbers", "either this or that 99"]) == ["a", "b"]


def test_without_groups_it_mines_categories():
    assert chosen(fitted(outcomes(groups=False), budget=4.6, sizes={"small": 1.0, "large": 10.0}))[1] == "large"


@pytest.mark.parametrize(
    ("parameters", "costs", "match"),
    [
        (
            {"budget": 0.5, "sizes": {"small": 1.0, "large": 10.0}},
            None,
            "no choice of experts is within the budget; the",
        ),
        ({"budget": 1.0, "sizes": {"small": 1.0}}, None, "none for the expert 'large'"),
        ({"budget": 1.0}, None, "needs 'sizes', or outcomes with costs; there are none for 'small'"),
        ({"total_budget": 1.0}, (0.1, 0.2), "'total_budget' needs 'sizes'"),
    ],
)
def test_a_budget_that_cannot_be_met_or_reckoned_is_an_error(parameters, costs, match):
    with pytest.raises(ValueError, match=match):
        fitted(outcomes(costs=costs), **parameters)


@given(
    arrays(np.float64, (3, 3), elements=st.floats(0, 1)),
    arrays(np.float64, (3, 3), elements=st.floats(0, 10)),
    arrays(np.float64, 3, elements=st.floats(0.1, 1)),
    st.floats(0, 10),
)
def test_the_map_is_as_good_as_any_within_the_budget(rewards, costs, shares, budget):
    shares = shares / shares.sum()
    maps = np.array(list(product(range(3), repeat=3)))
    earned = (shares * rewards[np.arange(3), maps]).sum(axis=1)
    spent = (shares * costs[np.arange(3), maps]).sum(axis=1)
    if not (spent <= budget - 1e-6).any():
        return
    found = assign(rewards, shares, costs, budget)
    assert (shares * costs[np.arange(3), found]).sum() <= budget + 1e-5
    assert (shares * rewards[np.arange(3), found]).sum() >= earned[spent <= budget - 1e-6].max() - 1e-5
