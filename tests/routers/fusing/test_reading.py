"""Outcome files to one table of answers."""

import pytest

from routers.base import Outcome
from routers.data.outcomes import OutcomeError, write_outcomes
from routers.fusing.reading import read_answers


def outcome(query, split=None, **answers):
    return Outcome(query, dict.fromkeys(answers, 1.0), answers=answers, split=split)


def test_files_are_read_one_after_another(tmp_path):
    write_outcomes(tmp_path / "a.jsonl", [outcome("1?", x="1", y="2")])
    write_outcomes(tmp_path / "b.parquet", [outcome("2?", x=None)])
    table, notes = read_answers([tmp_path / "a.jsonl", tmp_path / "b.parquet"])
    assert (table.queries, table.experts, notes) == (("1?", "2?"), ("x", "y"), ())


def test_queries_without_an_answer_of_these_experts_are_told(tmp_path):
    write_outcomes(tmp_path / "a.jsonl", [outcome("1?", x="1", y="2"), outcome("2?", x="1")])
    table, notes = read_answers([tmp_path / "a.jsonl"], experts=["y"])
    assert table.queries == ("1?",)
    assert notes == ("1 of 2 queries have no answer of these experts: left out",)


def test_the_test_split_takes_no_part_unless_it_is_all_there_is(tmp_path):
    write_outcomes(tmp_path / "a.jsonl", [outcome("1?", x="1"), outcome("2?", "test", x="1")])
    write_outcomes(tmp_path / "b.jsonl", [outcome("2?", "test", x="1")])
    table, notes = read_answers([tmp_path / "a.jsonl"], without_test=True)
    assert table.queries == ("1?",)
    assert notes[0].startswith("the split 'test' takes no part")
    assert len(read_answers([tmp_path / "b.jsonl"], without_test=True)[0]) == 1
    assert len(read_answers([tmp_path / "a.jsonl"])[0]) == 2


def test_a_file_that_is_wrong_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text("nonsense\n")
    with pytest.raises(OutcomeError, match=r"a\.jsonl"):
        read_answers([tmp_path / "a.jsonl"])
