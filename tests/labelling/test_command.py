"""`switchyard label` as a user runs it: killed, interrupted, on the shipped fleet."""

import json
import shutil
import signal

import pytest

from orchestrator.errors import ConfigError
from orchestrator.fleet.configfile import load_config
from orchestrator.fleet.weights import weights_path
from routers.data.outcomes import read_outcomes
from tests.support.cli import switchyard
from tests.support.ending import ended_and_resumed
from tests.support.service import write_config
from tests.support.shipped import SHIPPED

COMMAND = ("label", "--queries", "q.jsonl", "--reward", "exact", "--out", "o.jsonl")


def write_queries(folder, n):
    (folder / "q.jsonl").write_text("".join(json.dumps({"query": f"q{i}", "target": "4"}) + "\n" for i in range(n)))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_a_run_that_was_ended_is_resumed_and_nothing_is_paid_twice(tmp_path, number):
    write_queries(tmp_path, 8)
    upstream, result = await ended_and_resumed(tmp_path, COMMAND, "o.jsonl", number)
    assert json.loads(result.out)["num_asked"] == 4
    asked = [exchange.body["messages"][0]["content"] for exchange in upstream.requests]
    assert sorted(asked) == sorted([*(f"q{i}" for i in range(8)), "q4"]), "but for the one that was never answered"
    assert len(list(read_outcomes(tmp_path / "o.jsonl"))) == 8


async def test_the_report_is_a_table_or_json(tmp_path):
    write_queries(tmp_path, 2)
    write_config(tmp_path, {"name": "parrot", "backend": "echo"})
    result = await switchyard(*COMMAND, cwd=tmp_path)
    header, row, last = result.out.splitlines()
    assert header.split() == ["expert", "reward", "graded", "unusable", "failed", "USD"]
    assert row.split() == ["parrot", "0.000", "2", "0", "0", "0.0000"]
    assert last == "wrote 2 of 2 queries to o.jsonl; 2 calls, 0.0000 USD in all"
    report = json.loads((await switchyard(*COMMAND, "--json", cwd=tmp_path)).out)
    assert (report["num_asked"], report["complete"], report["experts"][0]["reward"]) == (0, True, 0.0)


async def test_weights_that_are_no_weights_are_one_line(tmp_path):
    write_queries(tmp_path, 1)
    write_config(tmp_path, {"name": "parrot", "backend": "echo"})
    (tmp_path / "w.json").write_text("[1]")
    result = await switchyard(
        *COMMAND[:-4], "--reward", "dmoerm:parrot", "--weights", "w.json", "--out", "o.jsonl", cwd=tmp_path
    )
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert result.err.startswith("w.json: expected {category: {capability: weight}}")


async def test_the_shipped_experts_are_labelled(tmp_path):
    try:
        weights_path(load_config(SHIPPED).by_name["smollm2"].model)
    except ConfigError as exc:
        pytest.skip(exc.message)
    pytest.importorskip("xllamacpp")
    shutil.copy(SHIPPED, tmp_path / "experts.yaml")
    rows = [{"query": "What is 17 * 23?", "target": 391}, {"query": "Name a colour.", "target": "1"}]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = [
        *COMMAND[:3],
        "--reward",
        "numeric",
        *COMMAND[5:],
        "--experts",
        "calculator,smollm2",
        "--max-tokens",
        "16",
    ]
    result = await switchyard(*command, cwd=tmp_path)
    assert result.code == 0, result.err
    arithmetic, colour = read_outcomes(tmp_path / "o.jsonl")
    assert arithmetic.rewards["calculator"] == 1.0
    assert (colour.rewards["calculator"], colour.answers["calculator"]) == (0.0, None)
    assert colour.answers["smollm2"]
