import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routers.base import Outcome
from routers.data.loading import read_table
from routers.data.outcomes import OutcomeError, write_outcomes
from routers.data.splits import is_held_out


def written(path, *outcomes):
    write_outcomes(path, outcomes)
    return path


def numbered(count, **fields):
    return [Outcome(f"query {i}", {"a": 1.0}, **fields) for i in range(count)]


def test_files_are_read_in_order_whatever_their_format(tmp_path):
    first = written(tmp_path / "a.jsonl.gz", Outcome("p", {"a": 1.0}), Outcome("q", {"b": 0.5}))
    second = written(tmp_path / "b.parquet", Outcome("r", {"a": 0.0}, costs={"a": 2.0}))
    table, reading = read_table([first, second])
    assert (table.queries, table.experts) == (("p", "q", "r"), ("a", "b"))
    assert np.array_equal(table.rewards, [[1, np.nan], [np.nan, 0.5], [0, np.nan]], equal_nan=True)
    assert (reading.num_lines, reading.num_kept, reading.num_duplicates, reading.notes) == (3, 3, 0, ())


def test_a_line_that_says_the_same_counts_once_but_another_reward_is_evidence(tmp_path):
    line = Outcome("q", {"a": 1.0})
    table, reading = read_table(
        [written(tmp_path / "a.jsonl", line, line, Outcome("q", {"a": 0.0}), Outcome("q", {"b": 1.0}))]
    )
    assert len(table) == 3
    assert reading.num_duplicates == 1
    assert reading.notes == ("1 lines said the same as an earlier one and count once",)


def test_lines_with_ids_of_their_own_are_not_the_same(tmp_path):
    table, _ = read_table([written(tmp_path / "a.jsonl", *(Outcome("q", {"a": 1.0}, id=str(i)) for i in range(3)))])
    assert len(table) == 3


def test_experts_select_columns_and_lines(tmp_path):
    path = written(tmp_path / "a.jsonl", Outcome("p", {"a": 1.0}), Outcome("q", {"a": 0.2, "b": 0.5}))
    table, reading = read_table([path], experts=["b"])
    assert (table.queries, table.experts) == (("q",), ("b",))
    assert reading.notes == ("1 of 2 lines have no reward for any expert asked for and were left out",)


def test_an_expert_that_no_line_has_is_an_error_that_lists_those_that_there_are(tmp_path):
    path = written(tmp_path / "a.jsonl", Outcome("p", {"a": 1.0, "b": 0.0}))
    with pytest.raises(ValueError, match="no outcome has the expert 'c', expected some of a, b"):
        read_table([path], experts=["a", "c"])


@pytest.mark.parametrize("outcomes", [[], [Outcome("q", {})]])
def test_nothing_of_use_is_an_error(tmp_path, outcomes):
    path = written(tmp_path / "a.jsonl", *outcomes)
    with pytest.raises(OutcomeError, match=r"a.jsonl: expected outcomes with at least one reward, got none"):
        read_table([path])


def test_what_is_kept_beyond_the_limit_does_not_depend_on_the_order(tmp_path):
    lines = numbered(300)
    forward, _ = read_table([written(tmp_path / "a.jsonl", *lines)], max_queries=50)
    backward, reading = read_table([written(tmp_path / "b.jsonl", *lines[::-1])], max_queries=50)
    assert forward.queries == backward.queries[::-1]
    assert (reading.num_lines, reading.num_kept) == (300, 50)
    assert "50 of 300 lines were kept" in reading.notes[0]


def test_a_smaller_limit_keeps_a_part_of_what_a_larger_one_keeps(tmp_path):
    path = written(tmp_path / "a.jsonl", *numbered(300))
    small, large = (set(read_table([path], max_queries=n)[0].queries) for n in (20, 200))
    assert small < large


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(queries=st.lists(st.sampled_from("pqrstuvw"), min_size=1, max_size=20), limit=st.integers(1, 8))
def test_no_more_is_kept_than_asked_for_and_nothing_is_lost_below_it(tmp_path, queries, limit):
    path = written(tmp_path / "a.jsonl", *(Outcome(query, {"a": 1.0}) for query in queries))
    table, reading = read_table([path], max_queries=limit)
    assert len(table) == min(limit, len(set(queries)))
    assert reading.num_lines == len(queries)


def test_a_wrong_line_is_told_with_its_file(tmp_path):
    good = written(tmp_path / "a.jsonl", Outcome("q", {"a": 1.0}))
    bad = tmp_path / "b.jsonl"
    bad.write_text('{"query": "q", "rewards": {"a": 7}}\n')
    with pytest.raises(OutcomeError, match=r"b.jsonl:1: field 'rewards.a'"):
        read_table([good, bad])


def test_a_sample_is_not_the_held_out_part_of_a_split(tmp_path):
    write_outcomes(tmp_path / "o.jsonl", (Outcome(f"query {i}", {"a": 1.0}) for i in range(2_000)))
    table, _ = read_table([tmp_path / "o.jsonl"], max_queries=300)
    assert 0.1 < np.mean([is_held_out(query, 0.2) for query in table.queries]) < 0.3
