"""No router is judged by what it has seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routers.base import Outcome
from routers.data.table import RewardTable
from routers.training.holding_out import hold_out
from tests.support.outcomes import specialists

SPECIALISTS = RewardTable.of(specialists())


def table(*splits, **rewards):
    return RewardTable.of(
        [Outcome(f"question {i} of {i * 7919}", rewards or {"a": 1.0}, split=split) for i, split in enumerate(splits)]
    )


@settings(max_examples=20)
@given(st.integers(0, 1_000))
def test_by_default_about_a_fifth_is_held_out_and_nothing_is_in_both_parts(seed):
    held = hold_out(SPECIALISTS, seed=seed)
    ((train, test),) = held.parts
    assert not set(train) & set(test)
    assert 0.08 < len(test) / len(SPECIALISTS) < 0.35
    assert len(held.final) == len(SPECIALISTS)


def test_folds_judge_every_query_once():
    held = hold_out(SPECIALISTS, folds=4)
    assert len(held.parts) == 4
    judged = np.concatenate([test for _, test in held.parts])
    assert len(judged) == len(set(judged)) > 0.9 * len(SPECIALISTS), "all but near duplicates"
    assert all(not set(train) & set(test) for train, test in held.parts)


def test_the_split_of_the_data_is_kept_to_the_end():
    held = hold_out(table("train", "test", "dev", None))
    ((train, test),) = held.parts
    assert (train.tolist(), test.tolist()) == ([0, 2, 3], [1])
    assert held.final.tolist() == [0, 2, 3], "test rows are not trained on, not even in the end"


def test_folds_leave_the_test_split_alone():
    held = hold_out(table("train", "test", "train", "train"), folds=3)
    assert len(held.table) == len(held.final) == 3
    assert held.notes[0].startswith("the split 'test' takes no part")


def test_a_file_that_is_all_test_is_split_by_hash():
    held = hold_out(table(*["test"] * 100))
    assert not held.is_given
    assert "by hash" in held.how


def test_queries_that_stand_in_the_training_part_are_dropped():
    text = "Which of the two trains that left the old station at noon will be the first to arrive?"
    outcomes = [Outcome(text, {"a": 1.0}, split="train"), Outcome(text.upper(), {"a": 1.0}, split="test")]
    held = hold_out(RewardTable.of([*outcomes, Outcome("Another one", {"a": 0.0}, split="test")]))
    assert held.parts[0][1].tolist() == [2]
    assert held.notes[0].startswith("dropped from what was held out") and held.notes[0].endswith(": 1")
    with pytest.raises(ValueError, match="every held-out query stands in the training part"):
        hold_out(RewardTable.of(outcomes))


def test_an_expert_that_is_only_in_the_test_part_is_left_out_and_named():
    outcomes = [
        Outcome("one", {"a": 1.0}, split="train"),
        Outcome("two", {"a": 0.0, "late": 1.0}, split="test"),
        Outcome("three", {"late": 1.0}, split="test"),
    ]
    held = hold_out(RewardTable.of(outcomes))
    assert held.table.experts == ("a",)
    assert held.table.queries == ("one", "two")
    assert held.notes == ("left out, for want of outcomes to fit on: 'late'",)


def test_experts_that_are_all_unknown_are_an_error():
    outcomes = [Outcome("one", {"a": 1.0}, split="train"), Outcome("two", {"late": 1.0}, split="test")]
    with pytest.raises(ValueError, match="too few to hold some out"):
        hold_out(RewardTable.of(outcomes))


@pytest.mark.parametrize("folds", [None, 2])
def test_one_query_is_too_few(folds):
    with pytest.raises(ValueError, match=r"1 query is too few|expected from 2 to 1 folds"):
        hold_out(table(None), folds=folds)
