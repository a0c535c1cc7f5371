"""Recorded requests as files."""

from __future__ import annotations

import gzip
import json

import pytest

from evals.simulation.traces import read_trace
from orchestrator.errors import DataError


def written(path, *rows):
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path


@pytest.mark.parametrize("name", ["trace.jsonl", "trace.jsonl.gz"])
def test_requests_come_in_order_from_0_whatever_the_clock(tmp_path, name):
    path = written(
        tmp_path / name,
        {"at": 1005.5, "expert": "poet"},
        {"at": 1000.0, "expert": "coder", "tokens": 17},
        {"at": 1002.0, "expert": "poet"},
    )
    trace, experts = read_trace(path)
    assert experts == ("coder", "poet")
    assert trace.at_s.tolist() == [0.0, 2.0, 5.5]
    assert trace.expert.tolist() == [0, 1, 1]
    assert trace.session is None


def test_sessions_are_numbered_and_may_be_missing(tmp_path):
    rows = [{"at": i, "expert": "a", "session": session} for i, session in enumerate(["x", None, "w", "x"])]
    trace, _ = read_trace(written(tmp_path / "trace.jsonl", *rows))
    assert trace.session.tolist() == [1, -1, 0, 1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"expert": "a"}, r"trace\.jsonl:2: .*`at`"),
        ({"at": 2.0}, r"trace\.jsonl:2: .*`expert`"),
        ({"at": "noon", "expert": "a"}, r"trace\.jsonl:2: .*Expected `float`"),
        ({"at": 1e999, "expert": "a"}, r"trace\.jsonl:2"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        read_trace(written(tmp_path / "trace.jsonl", {"at": 1.0, "expert": "a"}, row))


def test_an_empty_file_is_no_trace(tmp_path):
    with pytest.raises(DataError, match="nothing in it"):
        read_trace(written(tmp_path / "trace.jsonl"))
