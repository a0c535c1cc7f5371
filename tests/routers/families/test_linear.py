"""A linear model per expert, by both links."""

import numpy as np
import pytest

from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.families.linear import LinearRouter
from tests.support.outcomes import specialists

ENCODER = HashedEncoder(64)


def fitted(table, link, penalty=1.0):
    router = LinearRouter(encoder=ENCODER, link=link, penalty=penalty)
    return router.fit_encoded(table, ENCODER.encode(table.queries))


def test_logit_is_logistic_regression_on_both_outcomes_of_every_query():
    """Each query as a success that counts by its reward and a failure that counts by the rest."""
    from sklearn.linear_model import LogisticRegression

    table = RewardTable.of(specialists())
    vectors, rewards = ENCODER.encode(table.queries), table.rewards[:, 0]
    model = LogisticRegression(C=0.5, tol=1e-8, max_iter=2_000).fit(
        np.tile(vectors, (2, 1)),
        np.repeat([1, 0], len(rewards)),
        sample_weight=np.concatenate([rewards, 1.0 - rewards]),
    )
    expected = model.predict_proba(vectors)[:, 1]
    np.testing.assert_allclose(fitted(table, "logit", 2.0).predict_encoded(vectors)[:, 0], expected, atol=2e-3)


@pytest.mark.parametrize("link", ["identity", "logit"])
def test_each_experts_model_is_its_own(link):
    """What another expert earns, and whether it was tried, makes no difference."""
    table = RewardTable.of(specialists())
    vectors = ENCODER.encode(table.queries)
    both, alone = (fitted(part, link).predict_encoded(vectors)[:, 0] for part in (table, table.only(table.experts[:1])))
    np.testing.assert_allclose(both, alone, atol=2e-3)


@pytest.mark.parametrize("link", ["identity", "logit"])
def test_an_expert_that_was_never_tried_gets_the_mean(link):
    table = RewardTable.of(specialists(), ["calculator", "nobody"])
    scores = fitted(table, link).predict_encoded(ENCODER.encode(["What is 2 + 2?"]))
    assert scores[0, 1] == pytest.approx(table.means[0], abs=1e-3)
