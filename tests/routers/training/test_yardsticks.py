"""What a router is measured against is chosen on the training data, and on nothing else."""

from dataclasses import asdict

import numpy as np
from pydantic import TypeAdapter

from routers.base import Outcome
from routers.data.table import RewardTable
from routers.training.yardsticks import TrainingSummary, Yardsticks, fingerprint

TRAIN = RewardTable.of(
    [
        Outcome("a sum", {"a": 1.0, "b": 0.9}, group="sums", costs={"a": 0.02, "b": 0.01}),
        Outcome("a chat", {"a": 0.0, "b": 1.0}, group="chats", costs={"a": 0.02, "b": 0.01}),
        Outcome("of no group", {"a": 0.0, "b": 0.0}),
    ]
)
TEST = RewardTable.of(
    [
        Outcome("q1", {"b": 0.0, "a": 1.0}, group="sums"),
        Outcome("q2", {"b": 1.0}, group="new"),
        Outcome("q3", {"b": 1.0}),
    ]
)


def names(choice, table):
    return [table.experts[i] for i in choice]


def test_best_single_and_group_best_are_those_of_the_training_data():
    found = TrainingSummary.of(TRAIN).yardsticks(TEST)
    assert names(found.best_single, TEST) == ["b", "b", "b"]
    assert names(found.group_best, TEST) == ["a", "b", "b"], "an unknown group gets the best single"


def test_the_best_by_utility_depends_on_what_costs_are_worth():
    dear = RewardTable.of([Outcome("q", {"a": 1.0, "b": 0.9}, costs={"a": 0.02, "b": 0.01})])
    summary = TrainingSummary.of(dear)
    assert names(summary.yardsticks(TEST).best_by_utility, TEST)[0] == "a"
    assert names(summary.yardsticks(TEST, unit_price=20.0).best_by_utility, TEST)[0] == "b"


def test_experts_that_were_not_trained_on_are_no_yardstick():
    others = RewardTable.of([Outcome("q1", {"c": 1.0, "a": 1.0})])
    summary = TrainingSummary.of(TRAIN)
    assert names(summary.yardsticks(others).best_single, others) == ["a"]
    assert summary.yardsticks(RewardTable.of([Outcome("q1", {"c": 1.0})])) is None


def test_a_summary_survives_json():
    summary = TrainingSummary.of(TRAIN)
    assert TypeAdapter(TrainingSummary).validate_python(asdict(summary)) == summary
    assert (summary.num_queries, summary.costs) == (3, {"a": np.float32(0.02), "b": np.float32(0.01)})


def test_the_fingerprint_is_of_queries_experts_and_rewards():
    assert fingerprint(TRAIN) == TrainingSummary.of(TRAIN).fingerprint
    assert fingerprint(TRAIN) != fingerprint(TRAIN.rows(np.array([0, 1])))
    assert fingerprint(TRAIN) != fingerprint(TRAIN.only(["b", "a"]))


def test_folds_fill_in_their_own_rows():
    both = Yardsticks.empty(3)
    part = Yardsticks(*(np.array([1, 1], dtype=np.intp) for _ in range(3)))
    both.put(np.array([0, 2]), part)
    assert both.best_single.tolist() == both.group_best.tolist() == [1, 0, 1]
    assert both.rows(np.array([2])).best_by_utility.tolist() == [1]
