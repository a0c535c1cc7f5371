"""Learned fusion in the settings it is compared in."""

import pytest

from evals.fusion.comparison import ALL
from evals.fusion.learned import learned_fusion
from routers.encoders import HashedEncoder
from routers.fusing.evaluation import budgets
from tests.support.recorded import recorded_answers

SKILLS = {"good": 0.75, "fair": 0.65, "other": 0.65, "last": 0.6}


@pytest.fixture(scope="module")
def fused():
    """What is made of new queries."""
    train, test = (recorded_answers(SKILLS, n=300, seed=seed, silent=0.1) for seed in (0, 1))
    return test, learned_fusion(HashedEncoder(dimensions=64))(train, test)


def test_every_budget_is_kept_on_new_queries(fused):
    _, by_budget = fused
    for name, budget in budgets(len(SKILLS)).items():
        assert by_budget[name].calls.mean() <= (budget.mean_calls or len(SKILLS)) + 0.1


def test_one_call_is_retried_where_the_answer_is_unusable(fused):
    test, by_budget = fused
    once = by_budget["one call, retried"]
    assert 1.0 < once.calls.mean() < 1.3
    assert all(answer is not None for answer in test.answers[range(len(test)), once.chosen][once.calls < len(SKILLS)])


def test_all_calls_ask_everybody(fused):
    assert (fused[1][ALL].calls == len(SKILLS)).all()
