"""The journal: what was written is there again, whatever became of the process that wrote it."""

import os
import resource

import pytest

from orchestrator.errors import LabelError
from orchestrator.labelling.journal import Entry, Journal


def test_what_was_added_is_there_in_later_runs(tmp_path):
    path = tmp_path / "o.journal"
    entries = {"k1": Entry("a", "text\n\u2028☞", 0.5), "k2": Entry("a", None), "k3": Entry("b", 0.25, 0.1, {"s": 2.5})}
    with Journal.open(path) as journal:
        for key, entry in entries.items():
            journal.add(key, entry)
    with Journal.open(path) as journal:
        assert {key: journal.get(key) for key in entries} == entries
        assert journal.get("k4") is None
        assert journal.cost_usd == pytest.approx(0.6)


def test_a_line_that_was_cut_short_is_dropped_and_written_again(tmp_path):
    path = tmp_path / "o.journal"
    with Journal.open(path) as journal:
        journal.add("k1", Entry("a", "one"))
        journal.add("k2", Entry("a", "two"))
    os.truncate(path, path.stat().st_size - 5)
    with Journal.open(path) as journal:
        assert journal.get("k1") == Entry("a", "one")
        assert journal.get("k2") is None
        journal.add("k3", Entry("a", "three"))
    with Journal.open(path) as journal:
        assert journal.get("k3") == Entry("a", "three")


def test_a_line_that_could_not_be_written_whole_leaves_nothing_and_is_the_last(tmp_path):
    path = tmp_path / "o.journal"
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal.open(path) as journal:
        journal.add("k1", Entry("a", "one"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, unlimited[1]))
        try:
            with pytest.raises(LabelError, match="can't be written"):
                journal.add("k2", Entry("a", "two" * 100))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        with pytest.raises(LabelError, match="can't be written"):
            journal.add("k3", Entry("a", "three"))
    with Journal.open(path) as journal:
        assert [journal.get(key) for key in ("k1", "k2", "k3")] == [Entry("a", "one"), None, None]
        journal.add("k3", Entry("a", "three"))
    with Journal.open(path) as journal:
        assert journal.get("k3") == Entry("a", "three")


def test_a_damaged_line_is_told(tmp_path):
    path = tmp_path / "o.journal"
    path.write_text('{"key": "k"}\n')
    with pytest.raises(LabelError, match=r"o\.journal:1: this is no journal"), Journal.open(path):
        pass


def test_a_file_of_somebody_else_is_left_as_it_is(tmp_path):
    path = tmp_path / "o.jsonl.journal"
    path.write_text("precious")
    with pytest.raises(LabelError, match="this is no journal"), Journal.open(path):
        pass
    assert path.read_text() == "precious"


def test_one_run_at_a_time_holds_it(tmp_path):
    path = tmp_path / "o.journal"
    with Journal.open(path), pytest.raises(LabelError, match="another run is writing it"), Journal.open(path):
        pass
    with Journal.open(path):
        pass


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(LabelError, match="can't be written"), Journal.open(tmp_path / "none" / "o.journal"):
        pass
