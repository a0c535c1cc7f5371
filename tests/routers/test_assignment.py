"""Queries to experts with few places each: as good as trying every assignment, and better than the best pairs first."""

import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kernels.gating import expert_choice
from routers.assignment import assign


@st.composite
def crowds(draw):
    """Scores with ties and impossible pairs, and capacities that may not do."""
    shape = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    scores = draw(arrays(np.float32, shape, elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, -0.5, -np.inf])))
    return scores, draw(arrays(np.intp, shape[1], elements=st.integers(0, 6)))


def sums_of_all(scores, capacities):
    num_queries, num_experts = scores.shape
    for experts in product(range(num_experts), repeat=num_queries):
        total = scores[np.arange(num_queries), list(experts)].sum(dtype=np.float64)
        if np.isfinite(total) and (np.bincount(experts, minlength=num_experts) <= capacities).all():
            yield total


@settings(deadline=None)
@given(crowds())
def test_no_assignment_has_a_higher_sum(crowd):
    scores, capacities = crowd
    sums = list(sums_of_all(scores, capacities))
    if not sums:
        with pytest.raises(ValueError, match="places don't do"):
            assign(scores, capacities)
        return
    assigned = assign(scores, capacities)
    assert (np.bincount(assigned.experts, minlength=len(capacities)) <= capacities).all()
    assert assigned.total(scores) == pytest.approx(max(sums), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 4))
def test_the_sum_is_no_lower_than_with_the_best_pairs_first(seed, num_experts):
    scores = np.random.default_rng(seed).random((40, num_experts), dtype=np.float32)
    capacities = np.full(num_experts, -(-40 // num_experts))
    greedy = (scores * expert_choice(scores, capacities, 1, 1)).sum()
    assert assign(scores, capacities).total(scores) >= greedy - 1e-4


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_the_order_of_queries_and_experts_does_not_matter(seed):
    random = np.random.default_rng(seed)
    scores, capacities = random.random((30, 3), dtype=np.float32), np.array([8, 10, 14])
    queries, experts = random.permutation(30), random.permutation(3)
    shuffled = scores[np.ix_(queries, experts)]
    expected = assign(scores, capacities).total(scores)
    assert assign(shuffled, capacities[experts]).total(shuffled) == pytest.approx(expected, abs=1e-4)


def test_the_best_pair_is_given_up_when_that_costs_less_than_the_second():
    """Best pairs first would get 0.9 + 0.0."""
    scores = np.array([[0.9, 0.8], [0.85, 0.0]], dtype=np.float32)
    assigned = assign(scores, np.array([1, 1]))
    assert assigned.experts.tolist() == [1, 0]
    assert assigned.total(scores) == pytest.approx(1.65)


def test_a_place_is_worth_what_one_more_would_add():
    scores = np.array([[0.9, 0.5], [0.8, 0.5], [0.7, 0.5]], dtype=np.float32)
    now, more = assign(scores, np.array([2, 3])), assign(scores, np.array([3, 3]))
    assert now.worth_of_a_place == pytest.approx([more.total(scores) - now.total(scores), 0.0])
    assert more.worth_of_a_place == pytest.approx([0.0, 0.0])


def test_nobody_takes_the_queries_that_places_do_not_do_for():
    scores = np.array([[0.9, 0.0], [0.8, 0.0], [0.7, 0.0]], dtype=np.float32)
    assert assign(scores, np.array([2, 3])).experts.tolist() == [0, 0, 1]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match="expected scores that are numbers, or minus infinity"):
        assign(np.array([[0.5, wrong]], dtype=np.float32), np.array([1, 1]))


def test_no_queries_need_no_places():
    assert assign(np.zeros((0, 2), dtype=np.float32), np.array([0, 0])).experts.tolist() == []


def test_thousands_of_queries_take_seconds():
    scores = np.random.default_rng(0).random((5000, 16), dtype=np.float32) + np.linspace(0, 0.5, 16, dtype=np.float32)
    began = time.process_time()
    assigned = assign(scores, np.full(16, 313))
    assert time.process_time() - began < 20
    assert np.bincount(assigned.experts).max() <= 313
