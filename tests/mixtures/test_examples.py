"""What of a file becomes demonstrations."""

import json

import pytest

from orchestrator.errors import LabelError
from orchestrator.mixtures.examples import read_examples


def read(folder, *rows, reward="exact"):
    path = folder / "o.jsonl"
    path.write_text("".join(json.dumps({"query": "Capital of Peru?", **row}) + "\n" for row in rows))
    examples, notes = read_examples(path, reward)
    return {each.demonstration.query: each.demonstration.answer for each in examples}, notes


def test_a_target_is_the_right_answer(tmp_path):
    row = {"target": "Lima", "rewards": {"a": 1.0}, "answers": {"a": "It is Lima."}}
    assert read(tmp_path, row) == ({"Capital of Peru?": "Lima"}, ())


def test_queries_need_no_rewards(tmp_path):
    assert read(tmp_path, {"target": "Lima"})[0] == {"Capital of Peru?": "Lima"}


@pytest.mark.parametrize(("row", "reward"), [({}, "exact"), ({"target": "L.*"}, "regex")])
def test_without_one_it_is_the_answer_that_earned_most(tmp_path, row, reward):
    answers = {"a": "Cusco", "b": "It is Lima.", "c": None, "d": "not graded"}
    row |= {"rewards": {"a": 0.1, "b": 0.9, "c": 1.0}, "answers": answers}
    assert read(tmp_path, row, reward=reward)[0] == {"Capital of Peru?": "It is Lima."}


def test_wrong_answers_and_the_test_split_are_left_out_and_told(tmp_path):
    wrong = {"query": "wrong", "rewards": {"a": 0.4}, "answers": {"a": "Cusco"}}
    kept = {"rewards": {}, "target": "Lima"}
    found, notes = read(tmp_path, wrong, kept, {**kept, "query": "tested", "split": "test"}, kept)
    assert found == {"Capital of Peru?": "Lima"}
    assert notes == ("1 of 4 lines are of the split 'test'", "1 of 4 lines have no right answer")


def test_a_file_without_right_answers_is_an_error(tmp_path):
    with pytest.raises(LabelError, match=r"o\.jsonl: expected queries with a right answer"):
        read(tmp_path, {"rewards": {"a": 0.0}, "answers": {"a": "Cusco"}})
