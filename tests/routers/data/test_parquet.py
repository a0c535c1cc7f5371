import json
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routers.base import Outcome
from routers.data.outcomes import OutcomeError, read_outcomes, write_outcomes

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
EXPERTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
OUTCOMES = st.builds(
    Outcome,
    query=TEXT,
    rewards=st.dictionaries(EXPERTS, st.floats(0, 1), max_size=3),
    id=st.none() | TEXT,
    group=st.none() | TEXT,
    split=st.none() | TEXT,
    costs=st.dictionaries(EXPERTS, st.floats(0, 1e6), max_size=3),
    cost_unit=st.sampled_from(["usd", "tokens"]),
    answers=st.dictionaries(EXPERTS, st.none() | TEXT, max_size=3),
    target=st.none() | TEXT,
    propensity=st.dictionaries(EXPERTS, st.floats(0, 1), max_size=3),
)


def file_with(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(outcomes=st.lists(OUTCOMES, max_size=4))
def test_what_is_written_is_read_again(tmp_path, outcomes):
    path = tmp_path / "o.parquet"
    assert write_outcomes(path, outcomes) == len(outcomes)
    assert list(read_outcomes(path)) == outcomes


def test_a_lone_surrogate_becomes_the_replacement_character(tmp_path):
    write_outcomes(tmp_path / "o.parquet", [Outcome("a\ud800b", {"x": 1.0})])
    (outcome,) = read_outcomes(tmp_path / "o.parquet")
    assert outcome.query == "a\ufffdb"


def test_more_rows_than_a_batch_are_all_read_in_order(tmp_path):
    outcomes = [Outcome(f"query {i}", {"x": i / 2500}) for i in range(2500)]
    assert write_outcomes(tmp_path / "o.parquet", outcomes) == 2500
    assert list(read_outcomes(tmp_path / "o.parquet")) == outcomes
    assert pq.ParquetFile(tmp_path / "o.parquet").num_row_groups == 3


def test_experts_may_be_structs_in_which_null_is_not_tried(tmp_path):
    path = file_with(
        tmp_path / "o.parquet",
        query=["q", "r"],
        rewards=[{"a": 1.0, "b": None}, {"a": 0.0, "b": 0.5}],
        answers=[{"a": None, "b": None}, {"a": "yes", "b": "no"}],
    )
    first, second = read_outcomes(path)
    assert (first.rewards, first.answers) == ({"a": 1.0}, {"a": None})
    assert (second.rewards, second.answers) == ({"a": 0.0, "b": 0.5}, {"a": "yes", "b": "no"})


def test_experts_may_be_json_texts_and_the_query_messages(tmp_path):
    path = file_with(
        tmp_path / "o.parquet",
        query=[[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]],
        rewards=['{"a": 0.25}'],
        __index_level_0__=[7],
    )
    (outcome,) = read_outcomes(path)
    assert outcome == Outcome("Be brief.\n\nHi", {"a": 0.25})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"query": ["q", "q"], "rewards": ["{}", '{"a": 2}']},
            "field 'rewards.a': expected a number from 0 to 1, got 2",
        ),
        ({"query": ["q", "q"], "rewards": ["{}", "{"]}, "field 'rewards': .* got broken JSON"),
        ({"query": ["q", "q"], "rewards": ["{}", "[" * 100_000]}, "field 'rewards': .* got broken JSON"),
        ({"query": ["q", "q"], "rewards": ["{}", "3"]}, "field 'rewards': expected an object"),
        ({"query": ["q", None], "rewards": ["{}", "{}"]}, "the field 'query' is missing"),
        ({"query": ["q", "q"], "rewards": ["{}", "{}"], "other": [None, 1]}, "unknown field 'other'"),
        (
            {"query": ["q", "q"], "rewards": ["{}", "{}"], "group": [None, date(2026, 1, 31)]},
            "field 'group': .* got \"2026",
        ),
        ({"query": ["q", "q"], "rewards": ["{}", '{"a": NaN}']}, "field 'rewards.a': .* got NaN"),
    ],
)
def test_a_wrong_row_names_file_row_field_and_what_was_expected(tmp_path, columns, message):
    path = file_with(tmp_path / "o.parquet", **columns)
    with pytest.raises(OutcomeError, match=f"o.parquet:2: {message}"):
        list(read_outcomes(path))


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:-20], lambda data: b"PAR1" + bytes(60) + data[64:]]
)
def test_a_damaged_file_says_so(tmp_path, damage):
    path = tmp_path / "o.parquet"
    write_outcomes(path, [Outcome(json.dumps(i), {"a": 1.0}) for i in range(50)])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(OutcomeError, match=r"o.parquet: expected a Parquet file, got a damaged one"):
        list(read_outcomes(path))


def test_rewards_that_are_one_number_beside_answers_are_an_error(tmp_path):
    path = file_with(tmp_path / "o.parquet", query=["q"], rewards=[3], answers=[{"a": None}])
    with pytest.raises(OutcomeError, match=r"o.parquet:1: field 'rewards': expected an object"):
        list(read_outcomes(path))


def test_a_failed_write_leaves_nothing(tmp_path):
    def failing():
        yield Outcome("new", {})
        raise RuntimeError("the source failed")

    with pytest.raises(RuntimeError):
        write_outcomes(tmp_path / "o.parquet", failing())
    assert not list(tmp_path.iterdir())
