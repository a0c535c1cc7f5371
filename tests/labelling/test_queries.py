"""Files of queries, read: what may stand in a line, and what is said of one that is wrong."""

import gzip
import json

import pytest

from orchestrator.errors import LabelError
from orchestrator.labelling.queries import InOut, read_items


def read(tmp_path, *rows):
    path = tmp_path / "q.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return list(read_items(path))


def test_a_text_becomes_a_user_message(tmp_path):
    (item,) = read(tmp_path, {"query": "Hi", "id": "q1", "group": "g", "split": "train", "target": "Hello"})
    assert item.messages == ({"role": "user", "content": "Hi"},)
    assert (item.query, item.id, item.group, item.split, item.target, item.line) == (
        "Hi",
        "q1",
        "g",
        "train",
        "Hello",
        1,
    )


def test_messages_are_asked_as_they_are_and_learned_from_as_text(tmp_path):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    (item,) = read(tmp_path, {"query": messages})
    assert item.messages == tuple(messages)
    assert item.query == "Be brief.\n\nHi"


def test_choices_are_shown_unless_the_query_has_them(tmp_path):
    shown, had = read(
        tmp_path,
        {"query": "A fruit?", "choices": ["brick", "pear"]},
        {"query": "A fruit, brick or pear?", "choices": ["brick", "pear"]},
    )
    assert shown.query == shown.messages[0]["content"] == "A fruit?\nA. brick\nB. pear"
    assert had.query == "A fruit, brick or pear?"


def test_tests_schema_and_numbers(tmp_path):
    (item,) = read(
        tmp_path,
        {"query": "f", "tests": ["assert f", {"input": "1", "output": "2"}], "schema": {"type": "object"}, "target": 3},
    )
    assert item.tests == ("assert f", InOut("1", "2"))
    assert item.schema == {"type": "object"}
    assert item.target == "3"


def test_outcome_lines_and_blank_ones_are_read(tmp_path):
    items = read(
        tmp_path,
        {"query": "Hi", "rewards": {"a": 1.0}, "answers": {"a": "x"}, "costs": {"a": 0.1}},
        "",
        {"query": "Ho"},
    )
    assert [(item.query, item.line) for item in items] == [("Hi", 1), ("Ho", 3)]


def test_gzipped_files_are_read(tmp_path):
    path = tmp_path / "q.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"query": "Hi"}\n'))
    assert [item.query for item in read_items(path)] == ["Hi"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "expected a JSON object"),
        ({"query": "Hi", "tagret": "4"}, "unknown field 'tagret'"),
        ({"target": "4"}, "field 'query': expected text or a list of chat messages, got null"),
        ({"query": "  "}, "field 'query'"),
        ({"query": "\ud800"}, "expected text that UTF-8 can hold"),
        ({"query": [{"role": "user", "content": 3}]}, "field 'query'"),
        ({"query": "Hi", "choices": ["one"]}, "field 'choices': expected a list of 2 to 26 texts"),
        ({"query": "Hi", "choices": ["x"] * 27}, "field 'choices'"),
        ({"query": "Hi", "schema": "x"}, "field 'schema'"),
        ({"query": "Hi", "tests": 3}, "field 'tests'"),
        ({"query": "Hi", "tests": [{"input": "1"}]}, "field 'tests'"),
        ({"query": "Hi", "target": ["a"]}, "field 'target': expected text"),
    ],
)
def test_a_wrong_line_is_told_with_its_number(tmp_path, row, reason):
    with pytest.raises(LabelError) as error:
        read(tmp_path, {"query": "fine"}, row)
    assert error.value.message.startswith(f"{tmp_path / 'q.jsonl'}:2: ")
    assert reason in error.value.message


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(LabelError, match="can't be read"):
        list(read_items(tmp_path / "none.jsonl"))
    damaged = tmp_path / "q.jsonl.gz"
    damaged.write_bytes(gzip.compress(b'{"query": "Hi"}\n' * 99)[:-9])
    with pytest.raises(LabelError, match="can't be read"):
        list(read_items(damaged))
