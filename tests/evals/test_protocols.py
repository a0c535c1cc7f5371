"""The settings of the benchmark, on small files made here."""

import pytest

from evals.bench_routers import bench_routers
from evals.protocols import protocols
from routers.base import Outcome
from routers.data.outcomes import write_outcomes
from routers.encoders import HashedEncoder


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


def test_every_query_counts_once_in_the_results_with_or_without_an_id(tmp_path):
    write_outcomes(tmp_path / "llmrouter9-train.jsonl.gz", rows(0, 60, ids=False))
    found = {row.router: row for row in bench_routers(tmp_path, HashedEncoder(256), routers=["linear"])}
    assert {row.n for row in found.values()} == {60}
    assert found["oracle"].reward == 100.0
    assert found["group_best"].reward == 100.0
    assert found["linear"].reward == pytest.approx(100.0)
    assert found["linear"].gain == pytest.approx(found["linear"].reward - found["best_single"].reward, abs=1e-4)
