"""LLMRouter's files from our outcomes, the table of both, and all of it where LLMRouter is installed."""

import json
from math import isnan
from pathlib import Path

import numpy as np
import pytest

from evals.bench_llmrouter import bench_llmrouter, router_config, routing_rows, rows, write_files
from routers.base import Outcome
from routers.data.outcomes import read_outcomes, write_outcomes
from routers.encoders.hashed import HashedEncoder
from tests.support.outcomes import specialists

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".bench/llmrouter/bin/python"
OUTCOMES = [Outcome("a", {"y": 0.5, "x": 0.5}, group="sums"), Outcome("b", {"x": 1.0})]


def side(scale):
    """Each router reads for 1 s, trains for 2 and routes for 3, times `scale`, with half as much of the processor."""
    parts = {part: (scale * s, scale * s / 2) for part, s in (("read", 1.0), ("train", 2.0), ("route", 3.0))}
    found = {name: {"parts": parts, "reward": 0.5 / scale} for name in ("knn", "svm", "mlp", "mf")}
    return {"start": {"parts": {"start": (4.0 * scale, 3.0 * scale)}}, **found}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_row_for_each_model_tried_in_the_order_that_decides_ties():
    found = list(routing_rows(OUTCOMES))
    assert [(row["query"], row["model_name"], row["performance"]) for row in found] == [
        ("a", "y", 0.5),
        ("a", "x", 0.5),
        ("b", "x", 1.0),
    ]
    assert [row["task_name"] for row in found] == ["sums", "sums", None]


def test_rows_name_the_vector_of_their_query(tmp_path):
    train, test = specialists()[:3], specialists()[3:5]
    encoder = HashedEncoder()
    write_files(tmp_path, train, test, encoder)
    vectors = np.load(tmp_path / "vectors.npy")
    for row in lines(tmp_path / "routing_train.jsonl") + lines(tmp_path / "routing_test.jsonl"):
        np.testing.assert_array_equal(vectors[row["embedding_id"]], encoder.encode([row["query"]])[0])
    assert [line["query"] for line in lines(tmp_path / "embedded.jsonl")] == [outcome.query for outcome in train + test]
    assert [line["query"] for line in lines(tmp_path / "query_test.jsonl")] == [outcome.query for outcome in test]


def test_our_files_are_the_outcomes_and_in_the_sweep_they_have_their_split(tmp_path):
    train, test = specialists()[:3], specialists()[3:5]
    write_files(tmp_path, train, test, HashedEncoder())
    assert list(read_outcomes(tmp_path / "train.jsonl")) == train
    assert list(read_outcomes(tmp_path / "test.jsonl")) == test
    assert [outcome.split for outcome in read_outcomes(tmp_path / "outcomes.jsonl")] == ["train"] * 3 + ["test"] * 2


def test_a_config_is_valid_and_loads_the_model_that_it_saves(tmp_path):
    write_files(tmp_path, specialists()[:3], specialists()[3:5], HashedEncoder())
    for router in ("knn", "svm", "mlp", "mf"):
        found = json.loads((tmp_path / f"{router}.yaml").read_text())
        assert found == router_config(router, tmp_path, HashedEncoder().dimensions)
        assert found["model_path"]["save_model_path"] == found["model_path"]["load_model_path"]
        assert all(Path(path).exists() for path in found["data_path"].values() if not path.endswith(".pt"))


def test_only_matrix_factorisation_is_told_how_long_vectors_are(tmp_path):
    assert router_config("mf", tmp_path, 384)["hparam"]["text_dim"] == 384
    assert "text_dim" not in router_config("mlp", tmp_path, 384)["hparam"]


def test_speedups_are_theirs_over_ours_and_all_is_the_sum_of_the_parts():
    found = {(row.routers, row.part): row for row in rows(side(10.0), side(1.0), (2.0, 1.0))}
    knn = found["knn", "all"]
    assert (knn.theirs_s, knn.ours_s, knn.theirs_cpu_s, knn.ours_cpu_s) == (60.0, 6.0, 30.0, 3.0)
    assert (knn.speedup, knn.cpu_speedup) == (10.0, 10.0)
    assert (knn.their_reward, knn.our_reward) == (5.0, 50.0)
    assert isnan(found["knn", "read"].our_reward)
    assert found["together", "train"].theirs_s == 80.0
    assert found["together", "all"].ours_s == 24.0


def test_the_sweep_stands_against_start_and_all_of_theirs():
    *_, sweep = rows(side(10.0), side(1.0), (2.0, 1.0))
    assert (sweep.part, sweep.theirs_s, sweep.ours_s) == ("sweep", 280.0, 2.0)
    assert (sweep.theirs_cpu_s, sweep.ours_cpu_s, sweep.cpu_speedup) == (150.0, 1.0, 150.0)


def test_each_of_our_routers_stands_beside_its_nearest():
    titles = {row.routers for row in rows(side(10.0), side(1.0), (2.0, 1.0))}
    assert titles == {"knn", "svm / linear", "mlp", "mf / factorization", "together"}


@pytest.fixture
def files(tmp_path):
    """Train and test outcomes of specialists, of whom every fifth query is tested."""
    outcomes = specialists()
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    write_outcomes(train, [outcome for place, outcome in enumerate(outcomes) if place % 5])
    write_outcomes(test, outcomes[::5])
    return train, test


def test_a_side_that_fails_says_what_it_said(files, tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho nothing is installed here\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(RuntimeError, match=r"ended with 3:\nnothing is installed here"):
        list(bench_llmrouter(*files, python=broken, config=ROOT / "experts.yaml", features="hashed"))


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="needs LLMRouter: make bench-llmrouter")
def test_both_learn_who_is_the_specialist_of_what(files):
    found = list(bench_llmrouter(*files, python=PYTHON, config=ROOT / "experts.yaml", features="hashed"))
    earned = {row.routers: (row.their_reward, row.our_reward) for row in found if not isnan(row.our_reward)}
    assert len(earned) == 4
    assert np.min(list(earned.values())) > 80.0
    assert all(row.theirs_s > 0 and row.ours_s > 0 for row in found)
