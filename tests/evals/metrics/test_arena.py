"""RouterArena's score against its leaderboard, and its optimality measures by hand and query by query."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.arena import arena_score, optimal_accuracy, optimal_cost, optimal_selection

NAN = float("nan")
REWARDS = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0], [0, 1, 0]], np.float32)
COSTS = np.array([[1, 2, 4], [1, 2, 4], [1, 2, 4], [1, 2, 4]], np.float32)


@pytest.mark.parametrize(
    ("accuracy", "usd_per_1000", "published"),
    [(66.88, 0.15, 66.89), (68.09, 0.54, 66.66), (66.34, 0.21, 66.12), (73.96, 10.02, 64.32), (72.05, 0.20, 71.26)],
)
def test_the_score_is_the_published_one(accuracy, usd_per_1000, published):
    """Lines of RouterArena's leaderboard: MIRT-BERT, Azure, NIRT-BERT, GPT-5, LLM Router; costs there have two digits."""
    assert 100 * arena_score(accuracy / 100, usd_per_1000) == pytest.approx(published, abs=0.06)


def test_the_score_by_hand():
    """A cost in the middle of the logarithmic range is 0.5."""
    middle = math.sqrt(0.0044 * 200)
    assert arena_score(0.8, middle) == pytest.approx(1.1 * 0.8 * 0.5 / (0.1 * 0.8 + 0.5))
    assert arena_score(0.8, middle, beta=1.0) == pytest.approx(2 * 0.8 * 0.5 / (0.8 + 0.5))


def test_costs_outside_of_the_range_count_as_its_ends():
    assert arena_score(0.8, 0.0) == arena_score(0.8, 0.0044)
    assert arena_score(0.8, 500.0) == arena_score(0.0, 1.0) == arena_score(0.0, 500.0) == 0.0
    with pytest.raises(ValueError, match="negative"):
        arena_score(0.8, -1.0)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 300), st.floats(0, 300))
def test_more_accuracy_and_less_cost_score_no_less(accuracy, other, cost, other_cost):
    worse = arena_score(min(accuracy, other), max(cost, other_cost))
    assert 0.0 <= worse <= arena_score(max(accuracy, other), min(cost, other_cost)) + 1e-12


def test_optimality_by_hand():
    """The third query has no right answer. Chosen are the cheapest right one, a dearer right one, and a wrong one."""
    choice = np.array([0, 2, 0, 0])
    assert optimal_selection(REWARDS, COSTS, choice) == pytest.approx(1 / 3)
    assert optimal_cost(REWARDS, COSTS, choice) == pytest.approx((1 + 2) / (1 + 4))
    assert optimal_accuracy(REWARDS, COSTS, choice) == pytest.approx(2 / 3)


def test_the_oracle_is_optimal():
    choice = np.array([0, 1, 0, 1])
    measures = (optimal_selection, optimal_cost, optimal_accuracy)
    assert [measure(REWARDS, COSTS, choice) for measure in measures] == [1, 1, 1]


def test_what_is_not_known_does_not_count():
    """Without the cheapest expert's cost the next one is optimal; a choice that was not tried leaves its query out."""
    costs = np.array([[NAN, 2, 4]] * 4, np.float32)
    assert optimal_selection(REWARDS, costs, np.array([1, 1, 1, 1])) == 1.0
    assert (
        optimal_accuracy(np.array([[NAN, 1], [0, 1]], np.float32), np.ones((2, 2), np.float32), np.array([0, 0])) == 0.0
    )


def test_no_right_answer_gives_no_measure():
    choice = np.array([0])
    for measure in (optimal_selection, optimal_cost, optimal_accuracy):
        assert math.isnan(measure(REWARDS[2:3], COSTS[2:3], choice))


def test_free_experts_of_equal_cost_are_equally_optimal():
    free = np.zeros_like(COSTS)
    assert optimal_selection(REWARDS, free, np.array([1, 2, 0, 1])) == 1.0
    assert optimal_cost(REWARDS, free, np.array([1, 2, 0, 1])) == 1.0


answers = st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 5))


@given(st.lists(st.tuples(answers, answers, answers, st.integers(0, 2)), min_size=1, max_size=15))
def test_optimality_agrees_with_a_loop_over_queries(found):
    counted = selected = earned = least = paid = 0.0
    for *cells, chosen in found:
        right = [cost for reward, cost in cells if reward >= 1]
        if not right:
            continue
        counted += 1
        earned += cells[chosen][0]
        if cells[chosen][0] >= 1:
            selected += cells[chosen][1] == min(right)
            least, paid = least + min(right), paid + cells[chosen][1]
    rewards = np.array([[cell[0] for cell in row[:3]] for row in found], np.float32)
    costs = np.array([[cell[1] for cell in row[:3]] for row in found], np.float32)
    choice = np.array([row[3] for row in found])
    for measure, part, whole in (
        (optimal_selection, selected, counted),
        (optimal_accuracy, earned, counted),
        (optimal_cost, least, paid),
    ):
        assert measure(rewards, costs, choice) == pytest.approx(
            part / whole if whole else NAN, rel=1e-9, abs=1e-9, nan_ok=True
        )
