"""What every router of the registry owes, whatever it learns from."""

import inspect

import numpy as np
import pytest

from routers.artifact import load_artifact, save_artifact
from routers.base import ExpertCard, Outcome
from routers.encoders import HashedEncoder
from routers.families.learned import LearnedRouter
from routers.registry import ROUTERS, make_router, router_class

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


WORDS = ("cats", "rain", "the sea", "my aunt", "a train", "winter", "an old king", "music", "bread", "the moon")


class UnusableEncoder:
    """Fails when it is touched."""

    def __getattr__(self, name):
        raise AssertionError(f"the constructor used {name}")


def make(name, experts=CARDS):
    return make_router(name, experts=experts, encoder=HashedEncoder(512), parameters={})


@pytest.fixture(params=sorted(ROUTERS))
def name(request):
    return request.param


LEARNED = sorted(name for name in ROUTERS if issubclass(router_class(name), LearnedRouter))
SUMS = [f"What is {a} {sign} {b}?" for a in range(3, 9) for b in range(3, 8) for sign in "+*"]
CHATS = [f"Tell me a {kind} about {what}" for kind in ("joke", "story", "poem") for what in WORDS]


@pytest.fixture(params=LEARNED)
def learned(request):
    return request.param


def specialists(gap=0.0):
    """Sums are the calculator's, chats the general one's; a share of the cells is not tried."""
    dice = np.random.default_rng(7)
    for query, rewards in [(q, (0.1, 1.0)) for q in SUMS] + [(q, (0.9, 0.0)) for q in CHATS]:
        tried = {name: r for name, r in zip(("général", "calculator"), rewards, strict=True) if dice.random() >= gap}
        if tried:
            yield Outcome(query, tried, group="sums" if query in SUMS else "chats")


def test_the_constructor_stores_its_arguments_and_does_nothing_else(name):
    router = make_router(name, experts=CARDS, encoder=UnusableEncoder(), parameters={})
    parameters = set(inspect.signature(type(router)).parameters)
    assert set(vars(router)) == parameters
    assert router.experts == CARDS


def test_fit_returns_the_router_and_names_its_experts(name):
    router = make(name)
    assert router.fit(OUTCOMES) is router
    assert router.experts_ == ("général", "calculator", "silent")
    assert router.type == name


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


@pytest.mark.parametrize("gap", [0.0, 0.4])
def test_what_is_learned_sends_each_kind_of_query_to_its_expert(learned, gap):
    router = make(learned, experts=CARDS[:2]).fit(list(specialists(gap)))
    scores = router.predict(["What is 12 * 7?", "Tell me a story about a horse"])
    sums, chats = scores[:, [router.experts_.index("calculator"), router.experts_.index("général")]]
    assert sums[0] > sums[1]
    assert chats[0] < chats[1]


def test_an_artifact_predicts_what_the_router_did(name, tmp_path):
    router = make(name, experts=CARDS[:2]).fit(list(specialists()))
    save_artifact(tmp_path / "a", router, card="# a router")
    loaded = load_artifact(tmp_path / "a", encoders=[HashedEncoder(512)], experts=CARDS[:2]).router
    assert loaded.experts_ == router.experts_
    np.testing.assert_array_equal(loaded.predict(QUERIES[:-1]), router.predict(QUERIES[:-1]))


def test_an_expert_can_be_added_by_its_description(learned):
    router = make(learned, experts=CARDS[:2]).fit(list(specialists()))
    router.add_expert(ExpertCard("newcomer", description="exact sums"))
    assert router.experts_[-1] == "newcomer"
    scores = router.predict(["What is 12 * 7?", "Tell me a story about a horse"])
    assert scores.shape == (2, 3)
    assert ((scores >= 0.0) & (scores <= 1.0)).all()


def test_an_expert_can_be_added_by_examples(learned):
    """It is good at chats, whatever its description says."""
    router = make(learned, experts=CARDS[:2]).fit(list(specialists()))
    examples = [Outcome(q, {"newcomer": 1.0}) for q in CHATS[:20]] + [Outcome(q, {"newcomer": 0.0}) for q in SUMS[:20]]
    router.add_expert(ExpertCard("newcomer", description="something else"), examples)
    sums, chats = router.predict(["What is 12 * 7?", "Tell me a story about a horse"])[:, 2]
    assert chats > sums


def test_an_expert_that_is_there_cannot_be_added(learned):
    router = make(learned).fit(list(specialists()))
    with pytest.raises(ValueError, match="knows the expert 'calculator' already"):
        router.add_expert(CARDS[1])


def test_uncertainty_has_the_shape_of_the_prediction(learned):
    router = make(learned).fit(list(specialists()))
    if not router.has_std:
        with pytest.raises(ValueError, match=f"'{learned}' has no uncertainty"):
            router.predict(["What is 12 * 7?"], return_std=True)
        return
    mean, std = router.predict(QUERIES, return_std=True)
    assert mean.shape == std.shape == (len(QUERIES), 3)
    assert (std >= 0.0).all()
    assert std.dtype == np.float32


@pytest.mark.parametrize("outcomes", [(), [Outcome("hello", {})]])
def test_nothing_to_learn_from_is_an_error(learned, outcomes):
    with pytest.raises(ValueError, match=f"'{learned}' needs outcomes"):
        make(learned).fit(outcomes)


@pytest.mark.parametrize("reward", [float("nan"), -0.1, 1.5, float("inf")])
def test_a_reward_that_is_none_is_an_error(learned, reward):
    with pytest.raises(ValueError, match="expected 0 to 1"):
        make(learned).fit([Outcome("hello", {"calculator": reward})])


@pytest.mark.parametrize(
    "outcomes",
    [
        [Outcome("hello", {"calculator": 1.0})],
        [Outcome(query, {"calculator": 0.5, "général": 0.5}) for query in CHATS],
        [Outcome(query, {"calculator": 1.0}) for query in CHATS],
        [Outcome("the same", {"calculator": float(i % 2), "général": 1.0}) for i in range(30)],
        [Outcome("", {"calculator": 1.0, "général": 0.0}), Outcome("", {"calculator": 1.0, "général": 0.0})],
    ],
    ids=["one query", "all equal", "one expert", "one text", "empty texts"],
)
def test_little_to_learn_from_gives_a_sound_answer(learned, outcomes):
    scores = make(learned, experts=()).fit(outcomes).predict(["hello", "What is 2 + 2?"])
    assert np.isfinite(scores).all()
    assert ((scores >= 0.0) & (scores <= 1.0)).all()
