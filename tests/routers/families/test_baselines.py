import numpy as np
import pytest

from routers.base import ExpertCard, Outcome
from routers.data.outcomes import write_outcomes
from routers.families.baselines import BestSingleRouter, CheapestRouter, FixedRouter, RandomRouter

CARDS = (
    ExpertCard("large", price_input=2.0, price_output=8.0),
    ExpertCard("small", price_input=0.1, price_output=0.2),
    ExpertCard("local"),
    ExpertCard("also-local"),
)


def scores(router):
    return dict(zip(router.experts_, router.predict(["anything"])[0].tolist(), strict=True))


def test_random_draws_are_uniform_over_texts():
    draws = RandomRouter(experts=CARDS).fit().predict([f"query {i}" for i in range(4000)])
    assert np.abs(draws.mean(axis=0) - 0.5).max() < 0.02
    shares = np.bincount(draws.argmax(axis=1)) / len(draws)
    assert np.abs(shares - 0.25).max() < 0.03


def test_random_differs_by_seed_and_not_by_the_other_experts():
    router = RandomRouter(experts=CARDS, seed=1).fit()
    assert scores(router) != scores(RandomRouter(experts=CARDS, seed=2).fit())
    alone = RandomRouter(experts=CARDS[:1], seed=1).fit()
    assert scores(alone)["large"] == scores(router)["large"]


def test_cheapest_ranks_by_price_and_equal_prices_alike():
    found = scores(CheapestRouter(experts=CARDS).fit())
    assert found["local"] == found["also-local"] == 1.0
    assert found["local"] > found["small"] > found["large"] > 0.0


def test_fixed_prefers_one_expert():
    found = scores(FixedRouter(experts=CARDS, expert="small").fit())
    assert found == {"large": 0.0, "small": 1.0, "local": 0.0, "also-local": 0.0}


def test_fixed_follows_an_order():
    found = scores(FixedRouter(experts=CARDS, order=("local", "large")).fit())
    assert found == {"large": 0.5, "small": 0.0, "local": 1.0, "also-local": 0.0}


def test_fixed_without_parameters_is_the_order_of_declaration():
    assert FixedRouter(experts=CARDS).fit().predict(["x"])[0].tolist() == [1.0, 0.75, 0.5, 0.25]


def test_fixed_does_not_mind_experts_of_another_kind():
    assert not FixedRouter(experts=CARDS, expert="an-embedding-expert").fit().predict(["x"]).any()


def test_fixed_takes_one_expert_or_an_order():
    with pytest.raises(ValueError, match="exclude each other"):
        FixedRouter(experts=CARDS, expert="small", order=("small",)).fit()


OUTCOMES = (
    Outcome("a", {"large": 1.0, "small": 0.5, "stranger": 1.0}),
    Outcome("b", {"large": 0.5}),
    Outcome("c", {"small": 0.0}),
)


def test_best_single_learns_mean_rewards():
    found = scores(BestSingleRouter(experts=CARDS).fit(OUTCOMES))
    assert found["large"] == 0.75
    assert found["small"] == 0.25


def test_best_single_undoes_the_preferences_of_who_chose():
    found = [Outcome("a", {"small": 1.0}, propensity={"small": 0.25}), Outcome("b", {"small": 0.0})]
    assert scores(BestSingleRouter(experts=CARDS).fit(found))["small"] == pytest.approx(0.8)


def test_best_single_gives_the_untried_the_mean_over_all():
    assert scores(BestSingleRouter(experts=CARDS).fit(OUTCOMES))["local"] == pytest.approx(0.6)


def test_best_single_reads_an_outcome_file(tmp_path):
    write_outcomes(tmp_path / "o.jsonl.gz", OUTCOMES)
    assert scores(BestSingleRouter(experts=CARDS, data=tmp_path / "o.jsonl.gz").fit())["large"] == 0.75


def test_best_single_needs_outcomes():
    with pytest.raises(ValueError, match="set 'data' to an outcome file"):
        BestSingleRouter(experts=CARDS).fit()
