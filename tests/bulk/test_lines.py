"""Files of requests: what is found in them, and what makes one unusable, line by line."""

import json

import pytest

from orchestrator.bulk.lines import MAX_FAULTS, Limits, Source, scan
from orchestrator.errors import DataError
from tests.support.batches import URL, line, write_lines


def faults_of(path, limits=None, endpoint=None):
    return [(fault.line, fault.code, fault.param) for fault in scan(path, limits or Limits(), endpoint=endpoint).faults]


def test_lines_are_found_and_read_again(tmp_path):
    path = write_lines(tmp_path / "in.jsonl", [line("a"), "", line("ü", text="two")])
    scanned = scan(path, Limits())
    assert [found.number for found in scanned.lines] == [1, 3]
    with Source.open(path) as source:
        requests = [source.request(found) for found in scanned.lines]
    assert [(request.custom_id, request.url) for request in requests] == [("a", URL), ("ü", URL)]
    assert json.loads(requests[1].body)["messages"][0]["content"] == "two"
    assert requests[0].key != requests[1].key


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = write_lines(tmp_path / "in.jsonl", ["\ufeff" + json.dumps(line("a")), line("b")])
    scanned = scan(path, Limits())
    assert scanned.faults == []
    with Source.open(path) as source:
        assert [source.request(found).custom_id for found in scanned.lines] == ["a", "b"]


def test_every_fault_is_told_with_its_line(tmp_path):
    lines = [
        line("a"),
        "{not json",
        line("a"),
        line("b", method="GET"),
        line("c", url="/v1/images/generations"),
        line("d", body="text"),
        {"custom_id": "e", "method": "POST", "url": URL},
        line(7),
        line(""),
    ]
    assert faults_of(write_lines(tmp_path / "in.jsonl", lines)) == [
        (2, "invalid_json_line", None),
        (3, "duplicate_custom_id", "custom_id"),
        (4, "invalid_method", "method"),
        (5, "invalid_url", "url"),
        (6, "invalid_value", "body"),
        (7, "missing_required_parameter", "body"),
        (8, "invalid_value", "custom_id"),
        (9, "invalid_value", "custom_id"),
    ]


def test_a_batch_is_for_one_endpoint(tmp_path):
    path = write_lines(tmp_path / "in.jsonl", [line("a"), line("b", url="/v1/embeddings")])
    assert faults_of(path) == []
    assert faults_of(path, endpoint=URL) == [(2, "mismatched_url", "url")]


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_a_file_without_requests_is_empty(tmp_path, text):
    (tmp_path / "in.jsonl").write_text(text)
    assert faults_of(tmp_path / "in.jsonl") == [(None, "empty_file", None)]


def test_too_many_lines_and_lines_too_long_are_faults(tmp_path):
    path = write_lines(tmp_path / "in.jsonl", [line(f"r{i}", text="x" * 100 * (i == 1)) for i in range(5)])
    assert faults_of(path, Limits(requests=3)) == [(4, "too_many_tasks", None)]
    assert faults_of(path, Limits(line_bytes=200)) == [(2, "line_too_large", None)]


def test_a_hopeless_file_is_not_read_to_its_end(tmp_path):
    path = write_lines(tmp_path / "in.jsonl", ["no"] * 1000)
    assert len(faults_of(path)) == MAX_FAULTS


def test_bytes_that_are_no_text_are_a_fault(tmp_path):
    (tmp_path / "in.jsonl").write_bytes(b'{"custom_id": "\xff"}\n')
    assert faults_of(tmp_path / "in.jsonl") == [(1, "invalid_json_line", None)]


def test_a_file_that_was_changed_meanwhile_is_told(tmp_path):
    path = write_lines(tmp_path / "in.jsonl", [line("a")])
    scanned = scan(path, Limits())
    path.write_text("{}")
    with Source.open(path) as source, pytest.raises(DataError, match="line 1 was changed"):
        source.request(scanned.lines[0])


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match="can't be read: No such file"), Source.open(tmp_path / "in.jsonl"):
        pass
