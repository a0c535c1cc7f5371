"""`switchyard label` as a user runs it: killed, interrupted, on the shipped fleet."""

import asyncio
import json
import shutil
import signal
from collections import deque

import pytest

from orchestrator.errors import ConfigError
from orchestrator.fleet.configfile import load_config
from orchestrator.fleet.weights import weights_path
from routers.data.outcomes import read_outcomes
from tests.support.cli import start_switchyard, switchyard
from tests.support.service import openai_expert, write_config
from tests.support.shipped import SHIPPED
from tests.support.upstream import running_upstream

COMMAND = ("label", "--queries", "q.jsonl", "--reward", "exact", "--out", "o.jsonl")


def write_queries(folder, n):
    (folder / "q.jsonl").write_text("".join(json.dumps({"query": f"q{i}", "target": "4"}) + "\n" for i in range(n)))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_a_run_that_was_ended_is_resumed_and_nothing_is_paid_twice(tmp_path, number):
    write_queries(tmp_path, 8)
    async with running_upstream(script=deque(["ok"] * 4 + ["hang"])) as upstream:
        write_config(tmp_path, openai_expert("a", upstream.base_url, limits={"concurrency": 1}))
        process = await start_switchyard(*COMMAND, cwd=tmp_path)
        async with asyncio.timeout(30):
            while len(upstream.requests) < 5:
                upstream.arrived.clear()
                await upstream.arrived.wait()
        process.send_signal(number)
        _, err = await process.communicate()
        assert not (tmp_path / "o.jsonl").exists()
        if number == signal.SIGINT:
            assert process.returncode == 130
            assert err.decode().startswith("stopped; what was answered is kept in o.jsonl.journal")
        result = await switchyard(*COMMAND, "--json", cwd=tmp_path)
    assert result.code == 0, result.err
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
