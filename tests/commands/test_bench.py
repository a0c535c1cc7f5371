"""`switchyard bench` as a user runs it."""

import json
import shutil
from dataclasses import replace

import pytest

from evals.sweeps.storing import read_rows, write_rows
from routers.data.outcomes import write_outcomes
from tests.support.cli import switchyard
from tests.support.outcomes import specialists

PROMISED = {
    *("data", "router", "lambda", "seed", "reward", "ci95", "cost", "aiq", "apgr", "gap_at_oracle", "entropy"),
    *("flip_rate", "decision_ms"),
}
QUICK = ("--routers", "linear", "--features", "hashed:256", "--folds", "2", "--workers", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a file of outcomes, and a sweep of it in `out`."""
    folder = tmp_path_factory.mktemp("bench")
    write_outcomes(folder / "mine.jsonl", specialists(costs={"calculator": 0.0001, "poet": 0.001}))
    return folder


async def bench(folder, *args, **env):
    return await switchyard("bench", *args, cwd=folder, **env)


async def test_one_command_prints_a_table_and_writes_a_report(folder):
    found = await bench(folder, "--data", "mine.jsonl", *QUICK, "--out", "out")
    assert found.code == 0, found.err
    assert found.err == "", "no progress in a pipe"
    assert "mine, 278 queries" in found.out
    assert any(line.split()[:2] == ["linear", "0.900"] for line in found.out.splitlines())
    assert found.out.endswith("wrote out/report.html, and beside it table.md and advice.md\n")
    files = {path.name for path in (folder / "out").iterdir()}
    assert files >= {"results.parquet", "report.html", "report.md", "table.md", "sweep.json"}
    assert "| `linear` | 90.0 |" in (folder / "out" / "table.md").read_text()
    assert "Smallest fleet" in (folder / "out" / "advice.md").read_text()


async def test_attacks_are_measured_beside_the_data_as_they_are(folder):
    attack = ("--adversaries", "broken_expert", "--lambdas", "0", "--out", "attacked")
    found = await bench(folder, "--data", "mine.jsonl", *QUICK, *attack)
    assert "mine under broken_expert, 278 queries" in found.out
    assert "| mine | broken_expert | linear | -" in (folder / "attacked" / "advice.md").read_text()


async def test_json_has_a_row_for_every_router_and_lambda(folder):
    found = await bench(folder, "--data", "mine.jsonl", *QUICK, "--lambdas", "0,1", "--out", "out", "--json")
    rows = json.loads(found.out)
    assert all(row.keys() >= PROMISED for row in rows)
    assert {row["router"] for row in rows} >= {"linear", "best_single", "group_best", "oracle", "random"}
    assert {row["lambda"] for row in rows} == {0.0, 1.0}
    (linear,) = [row for row in rows if (row["router"], row["lambda"]) == ("linear", 0.0)]
    assert linear["ci95"][0] <= linear["reward"] <= linear["ci95"][1]
    assert 0.0 <= linear["flip_rate"] <= 1.0 and linear["decision_ms"] > 0.0
    assert "earned" not in linear


async def test_a_baseline_that_was_better_fails_the_command(folder):
    await bench(folder, "--data", "mine.jsonl", *QUICK, "--lambdas", "0", "--out", "out")
    shutil.copy(folder / "out" / "results.parquet", folder / "same.parquet")
    assert (await bench(folder, "--data", "mine.jsonl", *QUICK, "--out", "out", "--baseline", "same.parquet")).code == 0
    inside = await bench(folder, "--data", "mine.jsonl", *QUICK, "--out", "out", "--baseline", "out/results.parquet")
    assert inside.code == 0, "it is read before it is written anew"
    best = [row for row in read_rows(folder / "same.parquet") if row.router == "oracle"]
    write_rows(folder / "better.parquet", [replace(row, router="best_single") for row in best])
    worse = await bench(folder, "--data", "mine.jsonl", *QUICK, "--out", "out", "--baseline", "better.parquet")
    assert worse.code == 1
    assert worse.err.startswith("significantly worse than better.parquet: best_single on mine: -0.")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--data", "absent.jsonl"), "absent.jsonl: no such file, and $SWITCHYARD_DATA"),
        ((), "no data: give --data FILE"),
        (("--data", "mine.jsonl", "--routers", "magic"), "--routers: got 'magic', expected some of "),
        (("--data", "mine.jsonl", "--lambdas", "cheap"), "--lambdas: got 'cheap', expected numbers"),
        (("--data", "mine.jsonl", "--lambdas", "-1"), "--lambdas: got '-1', expected numbers from 0 up"),
        (("--data", "mine.jsonl", "--limit", "3"), "--limit: has no meaning without --live"),
        (("--live", "--routers", "linear"), "--routers: has no meaning with --live"),
        (("--data", "mine.jsonl", "mine.jsonl"), "two data sets have one name"),
        (("--data", "mine.jsonl", "--usd-per-unit", "0"), "--usd-per-unit: got 0, expected a number above 0"),
        (("--data", "mine.jsonl", "--baseline", "absent.parquet"), "absent.parquet: "),
        (("--data", "mine.jsonl", "--fleet", "small=poet"), "--fleet: got 'small=poet', expected NAME=a,b"),
        (("--data", "mine.jsonl", "--fleet", "x=poet,cook"), "mine: no outcome has the expert 'cook'"),
        (("--data", "mine.jsonl", "--adversaries", "gremlin"), "--adversaries: got 'gremlin', expected some of "),
        (("--data", "mine.jsonl", "--features", "magic"), "features 'magic': "),
    ],
)
async def test_bad_input_is_one_line(folder, args, message):
    found = await bench(folder, "--workers", "1", *args, "--out", "nowhere", SWITCHYARD_DATA="")
    assert found.code == 1
    assert message in found.err and found.err.count("\n") == 1
