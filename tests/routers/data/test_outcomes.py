import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routers.base import Outcome
from routers.data.outcomes import OutcomeError, read_outcomes, write_outcomes

EXPERTS = st.text(min_size=1, max_size=8)
REWARDS = st.floats(0, 1)
TEXT = st.one_of(st.none(), st.text(max_size=20))
OUTCOMES = st.builds(
    Outcome,
    query=st.text(st.characters(), max_size=40),
    rewards=st.dictionaries(EXPERTS, REWARDS, max_size=3),
    id=TEXT,
    group=TEXT,
    split=TEXT,
    costs=st.dictionaries(EXPERTS, st.floats(0, 1e6), max_size=3),
    cost_unit=st.sampled_from(["usd", "tokens"]),
    answers=st.dictionaries(EXPERTS, TEXT, max_size=3),
    target=TEXT,
    propensity=st.dictionaries(EXPERTS, REWARDS, max_size=3),
)
FULL = {
    "id": "q1",
    "query": "Which?",
    "group": "choice",
    "split": "train",
    "rewards": {"a": 1, "b": 0.5},
    "costs": {"a": 0.0002},
    "cost_unit": "tokens",
    "answers": {"a": "B", "b": None},
    "target": "B",
    "propensity": {"a": 0.9},
}


def file_with(path, *rows):
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(outcomes=st.lists(OUTCOMES, max_size=4), suffix=st.sampled_from([".jsonl", ".jsonl.gz"]))
def test_what_is_written_is_read_again(tmp_path, outcomes, suffix):
    path = tmp_path / f"o{suffix}"
    assert write_outcomes(path, outcomes) == len(outcomes)
    assert list(read_outcomes(path)) == outcomes


def test_every_field_is_read(tmp_path):
    (outcome,) = read_outcomes(file_with(tmp_path / "o.jsonl", FULL))
    assert outcome == Outcome(**{**FULL, "rewards": {"a": 1.0, "b": 0.5}})


def test_query_and_rewards_are_enough_and_blank_lines_are_skipped(tmp_path):
    path = file_with(tmp_path / "o.jsonl", {"query": "q", "rewards": {}}, "\n", "   \n", {"query": "r", "rewards": {}})
    assert [outcome.query for outcome in read_outcomes(path)] == ["q", "r"]


def test_messages_become_text_without_tool_results(tmp_path):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "a result"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "What is"}, {"type": "image_url"}, {"type": "text", "text": "this?"}],
        },
    ]
    (outcome,) = read_outcomes(file_with(tmp_path / "o.jsonl", {"query": messages, "rewards": {}}))
    assert outcome.query == "Be brief.\n\nWhat is\nthis?"


def test_gzip_is_the_same_bytes_every_time(tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_outcomes(tmp_path / name, [Outcome("q", {"a": 1.0})])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_files_are_streamed(tmp_path):
    path = file_with(tmp_path / "o.jsonl", {"query": "first", "rewards": {}}, "broken\n")
    assert next(read_outcomes(path)).query == "first"


def wrong(**changes):
    return {"query": "q", "rewards": {"a": 1.0}, **changes}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{broken\n", "expected a JSON object, got broken JSON"),
        ("[1, 2]\n", r"expected a JSON object, got \[1, 2\]"),
        ({"rewards": {}}, "the field 'query' is missing"),
        ({"query": "q"}, "the field 'rewards' is missing"),
        (wrong(reward={}), "unknown field 'reward', expected one of query, rewards"),
        (wrong(query=3), "field 'query': expected text or a list of chat messages, got 3"),
        (wrong(query=[]), "field 'query': expected text or a list of chat messages"),
        (
            wrong(query=[{"content": 3}]),
            "field 'query': expected a message's content as text or a list of parts, got 3",
        ),
        (wrong(rewards=[1]), r"field 'rewards': expected an object with a value per expert, got \[1\]"),
        (wrong(rewards={"a": 1.5}), "field 'rewards.a': expected a number from 0 to 1, got 1.5"),
        (wrong(rewards={"a": None}), "field 'rewards.a': expected a number from 0 to 1, got null"),
        (wrong(rewards={"a": True}), "field 'rewards.a': expected a number from 0 to 1, got true"),
        (wrong(rewards={"a": float("nan")}), "field 'rewards.a': expected a number from 0 to 1, got NaN"),
        (wrong(costs={"a": -1}), r"field 'costs.a': expected a number from 0 to 1e\+30, got -1"),
        (wrong(costs={"a": float("inf")}), r"field 'costs.a': expected a number from 0 to 1e\+30, got Infinity"),
        (wrong(costs={"a": 10**400}), r"field 'costs.a': expected a number from 0 to 1e\+30, got 10+\.\.\."),
        (wrong(propensity={"a": "0.5"}), "field 'propensity.a': expected a number from 0 to 1"),
        (wrong(answers={"a": 4}), "field 'answers.a': expected text or null, got 4"),
        (wrong(group=["x" * 100]), r"field 'group': expected text, got \[\"x+\.\.\."),
    ],
)
def test_a_wrong_line_names_file_line_field_and_what_was_expected(tmp_path, row, message):
    path = file_with(tmp_path / "o.jsonl", wrong(), wrong(), row)
    with pytest.raises(OutcomeError, match=f"o.jsonl:3: {message}"):
        list(read_outcomes(path))


def test_bad_utf8_names_its_line(tmp_path):
    path = tmp_path / "o.jsonl"
    path.write_bytes(json.dumps(wrong()).encode() + b'\n{"query": "\xff"}\n')
    with pytest.raises(OutcomeError, match=r"o.jsonl:2: .*broken JSON"):
        list(read_outcomes(path))


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: b"not gzip", lambda data: data[:60] + b"?" * 40]
)
def test_a_damaged_gzip_says_so(tmp_path, damage):
    path = tmp_path / "o.jsonl.gz"
    path.write_bytes(damage(gzip.compress(b"\n".join(json.dumps(wrong(id=str(i))).encode() for i in range(99)))))
    with pytest.raises(OutcomeError, match=r"o.jsonl.gz:\d+: expected gzipped lines, got a damaged file"):
        list(read_outcomes(path))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "o.jsonl"
    write_outcomes(path, [Outcome("old", {})])

    def failing():
        yield Outcome("new", {})
        raise RuntimeError("the source failed")

    with pytest.raises(RuntimeError):
        write_outcomes(path, failing())
    assert [outcome.query for outcome in read_outcomes(path)] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_real_outcome_files_are_valid():
    folder = os.environ.get("SWITCHYARD_DATA")
    if not folder:
        pytest.skip("$SWITCHYARD_DATA is not set")
    files = sorted(Path(folder).glob("**/*.jsonl.gz"))
    assert files
    for path in files:
        assert sum(1 for _ in read_outcomes(path)) > 100
