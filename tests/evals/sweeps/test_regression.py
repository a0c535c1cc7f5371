"""No router earns significantly less than when `baseline.parquet` was written.

`matrix.jsonl.gz` has 640 made-up queries of four kinds, and four experts that are right by chance, each most often on the kinds
that it is for. After a change that is meant to move rewards, write the baseline anew:

    switchyard bench --data tests/evals/sweeps/matrix.jsonl.gz --features hashed:256 --folds 2 --lambdas 0 --out DIR
    cp DIR/results.parquet tests/evals/sweeps/baseline.parquet
"""

from pathlib import Path

from evals.sweeps.storing import read_rows
from tests.support.cli import switchyard

HERE = Path(__file__).parent
OPTIONS = ("--features", "hashed:256", "--folds", "2", "--lambdas", "0")


async def test_no_router_is_worse_than_it_was(tmp_path):
    files = ("--data", str(HERE / "matrix.jsonl.gz"), "--baseline", str(HERE / "baseline.parquet"))
    found = await switchyard("bench", *files, *OPTIONS, "--out", str(tmp_path / "out"), cwd=tmp_path)
    assert found.code == 0, found.err
    before, now = (read_rows(path) for path in (HERE / "baseline.parquet", tmp_path / "out" / "results.parquet"))
    assert {row.router for row in before} == {row.router for row in now}, "a new router has no baseline yet"
