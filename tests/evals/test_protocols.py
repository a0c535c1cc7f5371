"""The settings of the benchmark, on small files made here."""

from evals.protocols import make_protocol, protocol_files, protocols
from routers.base import Outcome
from routers.data.outcomes import read_outcomes, write_outcomes
from routers.data.table import RewardTable


def rows(start, count, split=None, ids=True):
    """One of two experts is right, by whether the number is even."""
    for i in range(start, start + count):
        rewards = {"a": float(i % 2 == 0), "b": float(i % 2 == 1), "c": 0.5}
        kind = ("Add up", "Tell me about")[i % 2]
        yield Outcome(f"{kind} case {i}", rewards, id=f"q{i}" if ids else None, group=f"g{i % 2}", split=split)


def test_test_queries_that_were_trained_on_are_dropped(tmp_path):
    write_outcomes(tmp_path / "llmrouter9-train.jsonl.gz", rows(0, 50))
    write_outcomes(tmp_path / "llmrouter9-test.jsonl.gz", rows(40, 20))
    write_outcomes(tmp_path / "routerbench11-dev.jsonl.gz", [*rows(0, 50, "train"), *rows(40, 20, "test")])
    tested = {p.name: [len(test) for _, test in p.splits] for p in protocols(tmp_path)}
    assert tested == {"llmrouter9": [10] * 5, "llmrouter9 test": [10], "routerbench11": [10]}


def test_folds_test_every_query_once_and_never_train_on_it(tmp_path):
    write_outcomes(tmp_path / "llmrouter9-train.jsonl.gz", rows(0, 52))
    (protocol,) = protocols(tmp_path)
    assert sorted(q for _, test in protocol.splits for q in test.ids) == sorted(f"q{i}" for i in range(52))
    assert all(not set(train.queries) & set(test.queries) for train, test in protocol.splits)


def test_a_fleet_that_is_named_overrides_the_pool_of_a_protocol(tmp_path):
    write_outcomes(tmp_path / "mmlupro28-dev.jsonl.gz", rows(0, 60))
    tables = [RewardTable.of(read_outcomes(path)) for path in protocol_files("mmlupro10", tmp_path)]
    ((train, _), *_) = make_protocol("mmlupro10", tables, experts=("a", "c")).splits
    assert train.experts == ("a", "c")
    assert train.cost_unit == "characters", "the file doesn't say"
