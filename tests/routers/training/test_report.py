"""An evaluation by hand, on a table small enough to be read."""

import json

import numpy as np
import pytest

from routers.base import Outcome
from routers.data.table import RewardTable
from routers.training.report import DecisionTime, Prices, as_json, evaluate
from routers.training.yardsticks import TrainingSummary

TEST = RewardTable.of(
    [
        Outcome("q1", {"a": 1.0, "b": 0.0}, group="g", costs={"a": 0.03, "b": 0.01}),
        Outcome("q2", {"a": 0.0, "b": 1.0}, group="g", costs={"a": 0.03, "b": 0.01}),
        Outcome("q3", {"a": 1.0, "b": 0.5}, group="h", costs={"a": 0.03, "b": 0.01}),
        Outcome("q4", {"a": 0.0, "b": 0.5}, costs={"a": 0.03, "b": 0.01}),
    ]
)
PREDICTIONS = np.array([[0.9, 0.1], [0.1, 0.9], [0.4, 0.6], [0.6, 0.5]], np.float32)  # a, b, b, a
SUMMARY = TrainingSummary.of(RewardTable.of([Outcome("t", {"a": 0.9, "b": 0.5}, costs={"a": 0.03, "b": 0.01})]))


def judged(**options):
    return evaluate(PREDICTIONS, TEST, SUMMARY.yardsticks(TEST), **options)


def test_the_router_stands_beside_its_baselines():
    found = judged()
    assert found.reward.mean == 0.625
    assert found.baselines == {"random": 0.5, "best_single": 0.5, "group_best": 0.5, "shuffled": 0.5, "oracle": 0.875}
    assert (found.best_single, found.gain.mean) == ("a", 0.125)
    assert (found.n, found.num_tried) == (4, 4)


def test_shares_groups_and_costs():
    found = judged()
    assert found.share == {"a": 0.5, "b": 0.5}
    assert found.entropy_bits == 1.0
    assert {name: (g.n, g.reward, g.best_single) for name, g in found.by_group.items()} == {
        "g": (2, 1.0, 0.5),
        "h": (1, 0.5, 1.0),
    }
    assert (found.cost.unit, found.cost.mean, found.cost.best_single) == (
        "usd",
        pytest.approx(0.02),
        pytest.approx(0.03),
    )


def test_a_price_moves_the_choice_and_is_judged_by_utility():
    """a costs two cents more than b: with lambda 0.25 it must be expected to earn half a reward more."""
    prices = Prices(0.25, np.tile(np.array([3.0, 1.0], np.float32), (4, 1)), cents_per_unit=100.0)
    yardsticks = SUMMARY.yardsticks(TEST, unit_price=25.0)
    found = evaluate(PREDICTIONS, TEST, yardsticks, prices=prices)
    assert found.share == {"a": 0.25, "b": 0.75}
    assert found.utility.router.mean == pytest.approx((1.0 + 1.0 + 0.5 + 0.5 - 0.25 * (3 + 1 + 1 + 1)) / 4)
    assert found.utility.best_single == pytest.approx(0.5 - 0.25), "by utility, b was best in training"
    assert found.deciding_gain == found.utility.gain
    assert judged().deciding_gain == judged().gain


def test_without_training_data_there_is_no_best_single():
    found = evaluate(PREDICTIONS, TEST)
    assert (found.gain, found.best_single, found.baselines["best_single"]) == (None, None, None)
    assert found.by_group["g"].best_single is None


def test_gaps_are_told():
    gappy = RewardTable.of([Outcome("q1", {"a": 1.0, "b": 0.0}), Outcome("q2", {"a": 0.0}), Outcome("q3", {"b": 0.5})])
    found = evaluate(PREDICTIONS[:3], gappy)
    assert (found.n, found.num_tried) == (3, 2)
    assert found.cost is None


def test_json_holds_what_is_promised():
    body = json.loads(json.dumps(as_json(judged(decision_ms=DecisionTime(0.1, 0.2)))))
    assert body["reward"].keys() == {"mean", "ci95"}
    assert {"random", "best_single", "group_best", "oracle"} <= body["baselines"].keys()
    assert body["by_group"]["g"] == {"n": 2, "reward": 1.0, "best_single": 0.5}
    assert body["decision_ms"] == {"p50": 0.1, "p99": 0.2}
    assert body["calibration"]["a"].keys() == {"n", "ece", "brier"}
    assert body["gain"]["ci95"][0] <= body["gain"]["mean"] <= body["gain"]["ci95"][1]
    assert body["utility"] is None


def test_json_calls_lambda_by_its_name():
    prices = Prices(0.5, np.ones((4, 2), np.float32), cents_per_unit=100.0)
    assert as_json(judged(prices=prices))["utility"]["lambda"] == 0.5
