"""What every router of the registry owes, whatever it learns from."""

import inspect

import numpy as np
import pytest

from routers.base import ExpertCard, Outcome
from routers.encoders import HashedEncoder
from routers.registry import ROUTERS, make_router

CARDS = (
    ExpertCard("général", description="general assistant", skills=("chat",), price_output=1.0),
    ExpertCard("calculator", description="exact sums", examples=("What is 2 + 2?", "7 * 8")),
    ExpertCard("silent"),
)
OUTCOMES = (Outcome("hello", {"général": 1.0, "calculator": 0.0}), Outcome("1 + 1", {"calculator": 1.0}))
QUERIES = [
    "What is 17 * 23?",
    "Tell me a joke",
    "",
    "   ",
    "日本語の質問 🚂",
    "a lone \ud800 surrogate",
    "\x00",
    "long " * 50_000,
]


class UnusableEncoder:
    """Fails when it is touched."""

    def __getattr__(self, name):
        raise AssertionError(f"the constructor used {name}")


def make(name, experts=CARDS):
    return make_router(name, experts=experts, encoder=HashedEncoder(512), parameters={})


@pytest.fixture(params=sorted(ROUTERS))
def name(request):
    return request.param


def test_the_constructor_stores_its_arguments_and_does_nothing_else(name):
    router = make_router(name, experts=CARDS, encoder=UnusableEncoder(), parameters={})
    parameters = set(inspect.signature(type(router)).parameters)
    assert set(vars(router)) == parameters
    assert router.experts == CARDS


def test_fit_returns_the_router_and_names_its_experts(name):
    router = make(name)
    assert router.fit(OUTCOMES) is router
    assert router.experts_ == ("général", "calculator", "silent")


def test_predictions_are_rewards(name):
    scores = make(name).fit(OUTCOMES).predict(QUERIES)
    assert scores.shape == (len(QUERIES), len(CARDS))
    assert scores.dtype == np.float32
    assert ((scores >= 0.0) & (scores <= 1.0)).all()


def test_no_queries_give_no_rows(name):
    scores = make(name).fit(OUTCOMES).predict([])
    assert scores.shape == (0, len(CARDS))
    assert scores.dtype == np.float32


def test_a_fleet_of_one_expert_works(name):
    scores = make(name, experts=CARDS[:1]).fit(OUTCOMES).predict(QUERIES)
    assert scores.shape == (len(QUERIES), 1)


def test_two_fits_predict_the_same(name):
    first, second = (make(name).fit(OUTCOMES).predict(QUERIES) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_query_scores_the_same_alone_and_among_others(name):
    router = make(name).fit(OUTCOMES)
    alone = np.concatenate([router.predict([query]) for query in QUERIES])
    np.testing.assert_allclose(router.predict(QUERIES), alone, atol=1e-6)


def test_fitting_again_starts_afresh(name):
    router = make(name).fit(OUTCOMES)
    before = router.predict(QUERIES)
    np.testing.assert_array_equal(router.fit(OUTCOMES).predict(QUERIES), before)


def test_it_says_whether_it_encodes(name):
    router = make(name)
    assert router.needs_encoder == ("encoder" in inspect.signature(type(router)).parameters)
