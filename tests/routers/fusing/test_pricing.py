"""What calls cost, and the order and the threshold that a mean cost is spent with."""

import numpy as np
import pytest

from routers.fusing.pricing import Offers, Prices, Way, handicap
from routers.fusing.stopping import Curve
from tests.support.recorded import recorded_answers


def way(power, spent, values):
    """values: of every query, at each threshold. Their spread is nothing but noise."""
    ones = np.ones(len(spent), dtype=np.float32)
    curve = Curve(np.arange(len(spent), dtype=np.float32), np.array(spent, dtype=np.float32), 0.1 * ones)
    noise = np.random.default_rng(int(power)).normal(scale=0.1, size=(len(spent), 1_000))
    return Way(power, curve, (np.array(values)[:, None] + noise).astype(np.float32))


PLAIN = way(0.0, [6.0, 4.0, 3.0], [0.8, 0.7, 0.5])


def test_prices_are_relative_to_a_mean_call():
    prices = Prices.of(recorded_answers({"a": 0.5, "b": 0.5}, n=2_000, costs={"a": 0.001, "b": 0.003}))
    assert prices.relative(("b", "a")).tolist() == pytest.approx([1.5, 0.5], rel=0.03)
    assert prices.unit == "usd"


def test_a_free_call_is_not_infinitely_good():
    assert Prices({"a": 0.0, "b": 2.0}, "usd").relative(("a", "b")).tolist() == pytest.approx([0.001, 2.0])
    assert (Prices({"a": 0.0}, "usd").relative(("a",)) > 0).all()


def test_an_expert_of_unknown_cost_is_named():
    prices = Prices.of(recorded_answers({"a": 0.5, "b": 0.5}, n=5, costs={"a": 1.0}))
    with pytest.raises(ValueError, match="what a call to 'b' costs is not known"):
        prices.relative(("a", "b"))


def test_an_order_by_cost_is_taken_where_it_is_worth_more():
    offers = Offers.of([PLAIN, way(1.0, [6.0, 4.0, 2.0], [0.8, 0.78, 0.6])])
    assert offers.best(4.5) == (1.0, 1.0)


def test_an_order_by_cost_that_is_no_better_is_left():
    offers = Offers.of([PLAIN, way(1.0, [6.0, 4.0, 2.0], [0.8, 0.7, 0.5])])
    assert offers.best(4.5) == (0.0, 1.0)
    assert offers.best(7.0) == (0.0, 0.0)


def test_an_order_by_cost_goes_where_the_other_cannot():
    offers = Offers.of([PLAIN, way(1.0, [6.0, 4.0, 2.0], [0.4, 0.3, 0.2])])
    assert offers.best(2.5) == (1.0, 2.0)


def test_a_mean_is_kept_by_a_margin_or_refused():
    offers = Offers.of([PLAIN])
    assert offers.best(4.21) == (0.0, 1.0)
    assert offers.best(4.19) == (0.0, 2.0)
    with pytest.raises(ValueError, match=r"one call a query takes 3\.2 with the cheapest expert, got 3\.1"):
        offers.best(3.1)


def test_a_handicap_is_none_for_a_call_of_mean_cost():
    assert handicap(np.array([1.0, np.e], dtype=np.float32), 0.5).tolist() == pytest.approx([0.0, 0.5])
