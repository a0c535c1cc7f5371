import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.aggregators.registry import make_aggregator
from orchestrator.aggregators.tokens.logits import Posterior
from orchestrator.errors import ConfigError

TWO = np.log(np.array([[0.7, 0.3], [0.1, 0.9]]))


def test_weights_are_the_prior_before_anything_was_seen():
    np.testing.assert_allclose(Posterior(np.log([3.0, 1.0])).weights, [0.75, 0.25], atol=1e-6)


def test_weights_follow_from_bayes_rule():
    rule = Posterior(np.log([3.0, 1.0]))
    rule.saw(np.log([0.1, 0.3]))
    np.testing.assert_allclose(rule.weights, [0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(np.exp(rule.fuse(TWO)), [0.4, 0.6], atol=1e-6)


@given(st.lists(st.floats(-50, 0), min_size=2, max_size=5), st.integers(0, 4))
def test_the_posterior_concentrates_on_who_foresees_better(held, best):
    rule = Posterior(np.zeros(len(held)))
    best %= len(held)
    for _ in range(200):
        rule.saw(np.array([0.0 if i == best else logprob - 0.1 for i, logprob in enumerate(held)]))
    assert rule.weights[best] > 0.999


def test_what_is_long_past_counts_less_when_it_decays():
    exact, recent = Posterior(np.zeros(2)), Posterior(np.zeros(2), decay=0.5)
    for rule in (exact, recent):
        for logprobs in ([-1.0, -5.0], [-1.0, -5.0], [-2.0, -1.0]):
            rule.saw(np.array(logprobs))
    assert exact.weights[0] > 0.9
    np.testing.assert_allclose(np.log(recent.weights[0] / recent.weights[1]), 4 / 4 + 4 / 2 - 1, atol=1e-5)


def test_only_the_best_are_mixed():
    weights = Posterior(np.log([1.0, 2.0, 3.0]), top_k=2).weights
    np.testing.assert_allclose(weights, [0.0, 0.4, 0.6], atol=1e-6)


def test_who_takes_no_part_counts_for_nothing():
    rule = Posterior(np.array([0.0, -np.inf]))
    rule.saw(np.array([-50.0, 0.0]))
    np.testing.assert_allclose(rule.fuse(TWO), TWO[0], atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"decay": 0}, {"decay": 1.5}, {"top_k": 0}, {"prior": {"a": 0}}, {"evidence_tokens": -1}]
)
def test_parameters_that_make_no_sense_are_errors_of_the_configuration(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        make_aggregator("logits", parameters=wrong)
