"""How well fused models foresee texts that each of them has read; the reading itself is in the claims, on the real model."""

import numpy as np

from evals.claims.dynamic_logits import Static
from evals.claims.token_texts import Read
from orchestrator.aggregators.tokens.logits import Posterior

SURE, UNSURE = np.log([0.9, 0.1]), np.log([0.5, 0.5])
TEXT = Read(logprobs=(np.array([SURE, UNSURE]), np.array([SURE, UNSURE])), places=(0, 1))


def test_each_model_is_held_to_the_mean_of_what_it_gave_the_texts_tokens():
    np.testing.assert_allclose(TEXT.held(Posterior(np.zeros(2)))[1:], [np.log([0.9, 0.1]).mean(), np.log(0.5)])


def test_a_rule_is_held_to_what_it_made_of_the_tokens_before():
    first, weight = 0.7, 0.9 / 1.4
    second = weight * 0.1 + (1 - weight) * 0.5
    np.testing.assert_allclose(TEXT.held(Posterior(np.zeros(2)))[0], np.log([first, second]).mean(), atol=1e-6)


def test_scores_that_are_no_distribution_are_made_one():
    text = Read(logprobs=(np.array([SURE, UNSURE, UNSURE]),), places=(0,))
    np.testing.assert_allclose(text.held(Static())[0], SURE[0])
