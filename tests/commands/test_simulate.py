"""`switchyard simulate` as a user runs it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.commands.ledgers import ledger_trace
from orchestrator.errors import DataError
from orchestrator.fleet.configfile import read_config
from orchestrator.service import make_ledger
from orchestrator.types import Attempt, Decision
from routers.data.outcomes import write_outcomes
from tests.support.cli import start_switchyard
from tests.support.outcomes import noise, specialists

MACHINE = ("--experts", "16", "--slots", "2", "--swap-s", "6", "--batch", "8", "--batch-s", "2")
REQUESTS = ("--rate", "3", "--zipf", "1.0", "--requests", "200")
QUICK = ("--requests", "200", "--workers", "1")

FLEET = """\
version: 1
experts:
  - {name: base, backend: command, command: "serve {port}"}
  - {name: tiny, backend: command, command: "serve {port}"}
  - {name: poet, backend: persona, base: base, identity: synthesised}
  - {name: gpt, backend: echo}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWITCHYARD_CONFIG", raising=False)
    return tmp_path


def simulate(*args):
    """What it prints on stdout."""
    result = CliRunner().invoke(app, ["simulate", *args], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_json_has_a_row_for_every_policy():
    rows = json.loads(simulate("--policy", "all", *MACHINE, *REQUESTS, "--seeds", "2", "--workers", "1", "--json"))
    assert {"switchyard", "fifo", "lru", "llama_swap", "ollama", "ray_serve", "coserve", "qlm"} <= {
        row["policy"] for row in rows
    }
    for row in rows:
        assert set(row) == {
            *("policy", "served_per_s", "swaps_per_100", "latency_s", "cold_p99_s", "max_rate_p99_120", "refused"),
        }
        assert set(row["latency_s"]) == {"mean", "p50", "p99", "max"}
        assert row["max_rate_p99_120"] is None


def test_a_table_with_the_highest_rate():
    header, line = simulate(
        "--policy", "switchyard", "--batch", "1", "--rate", "0.5", *QUICK, "--max-rate"
    ).splitlines()
    assert header.split()[:2] == ["policy", "served/s"]
    assert header.rstrip().endswith("highest rate/s")
    assert line.split()[0] == "switchyard"


def test_requests_may_be_recorded(folder):
    rows = [{"at": i * 0.5, "expert": "ab"[i % 2]} for i in range(20)]
    (folder / "trace.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (row,) = json.loads(simulate("--trace", "trace.jsonl", "--policy", "fifo", "--slots", "1", "--json"))
    assert row["swaps_per_100"] == 100.0


async def fill_ledger(folder):
    """A session of ten requests, a second apart: each asks the persona, and after a second the remote expert."""
    (folder / "experts.yaml").write_text(FLEET)
    ledger = make_ledger(read_config(folder / "experts.yaml"), folder)
    await ledger.open()
    for i in range(10):
        made = [Attempt("poet", "ok", 0.0, 0.5), Attempt("gpt", "ok", 0.0, 0.5, began_s=1.0)]
        made += [Attempt("tiny", "ok", 0.0, 0.5, began_s=2.0)] * (i == 9)
        asked_at = time.time() - 60 + i
        ledger.record(
            Decision(f"sw-{i}", asked_at, "chat", "auto", "auto", "text", "key", session="s", status=200, attempts=made)
        )
    await ledger.close()


def test_requests_may_come_from_the_ledger(folder):
    asyncio.run(fill_ledger(folder))
    trace, experts = ledger_trace(None, hours=1.0)
    assert experts == ("base", "tiny"), "the persona stands on base, and gpt's weights are elsewhere"
    assert trace.at_s == pytest.approx([*range(10), 11], abs=0.5)
    assert trace.session.tolist() == [0] * 11
    (row,) = json.loads(simulate("--from-ledger", "--hours", "1", "--slots", "1", "--policy", "lru", "--json"))
    assert row["swaps_per_100"] == pytest.approx(200 / 11)


def test_a_ledger_that_saw_nobody_says_so(folder):
    (folder / "experts.yaml").write_text(FLEET)
    with pytest.raises(DataError, match=r"nobody who asked an expert with weights in the last 0\.5 hours"):
        ledger_trace(None, hours=0.5)


def test_outcomes_add_rewards_and_the_router_alone(folder):
    write_outcomes(folder / "mine.jsonl", specialists())
    options = ("--router", "linear", "--mu", "0.001", "--slots", "1", "--policy", "switchyard,lru", *QUICK, "--json")
    rows = json.loads(simulate("--outcomes", "mine.jsonl", *options))
    assert [row["policy"] for row in rows] == ["switchyard", "route_then_schedule", "lru"]
    assert [row["reward"] for row in rows] == pytest.approx([0.9, 0.9, 0.9], abs=0.02)


def test_some_of_the_experts_of_outcomes_may_be_named(folder):
    write_outcomes("mine.jsonl", noise())
    options = ("--router", "linear", "--policy", "lru", *QUICK, "--json")
    (row,) = json.loads(simulate("--outcomes", "mine.jsonl", "--experts", "b", *options))
    assert row["swaps_per_100"] == 0.5, "there is one expert, loaded once"
    with pytest.raises(DataError, match="no outcome has the expert 'c', expected some of a, b"):
        simulate("--outcomes", "mine.jsonl", "--experts", "a,c", *options)


def test_what_more_memory_would_buy():
    report = json.loads(simulate("--residency", "--experts", "4", "--requests", "200", "--json"))
    assert [near["length"] for near in report["segments"]] == [10, 100]
    assert {row["policy"] for row in report["memory"]} == {"in_order", "switchyard"}
    assert [row["slots"] for row in report["memory"]] == [2.0, 2.0, 3.0, 3.0, 4.0, 4.0]
    lines = simulate("--residency", "--experts", "4", "--requests", "200").splitlines()
    assert lines[0].split("  ")[-1].strip() == "served by the best 2"
    assert lines[3].split() == ["slots", "policy", "ready", "on", "arrival", "swaps/100", "p99", "s"]
    assert lines[4].split()[:2] == ["2", "in_order"]


def test_a_plot_is_drawn_on_request(folder):
    simulate("--policy", "switchyard,lru", *QUICK, "--plot", "rows.png")
    assert (folder / "rows.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--policy", "fiffo"), "unknown policy 'fiffo', expected one of switchyard, "),
        (("--experts", "0"), "experts: expected 1 or more"),
        (("--experts", "-3"), "experts: expected 1 or more"),
        (("--experts", "a,a"), "experts: expected a name of its own for each"),
        (("--policy", ""), "unknown policy '', expected one of switchyard, "),
        (("--rate", "0"), "rate: expected more than 0, got 0.0"),
        (("--batch-s", "-1"), "service_s: expected more than 0 for every expert"),
        (("--load-failures", "1"), "load_failures: expected at least 0 and less than 1"),
        (("--trace", "none.jsonl"), "none.jsonl: can't be read: No such file or directory"),
        (("--outcomes", "none.jsonl"), "none.jsonl: No such file or directory"),
        (("--trace", "t.jsonl", "--rate", "3"), "--rate: has no meaning with --trace"),
        (("--trace", "t.jsonl", "--outcomes", "o.jsonl"), "--outcomes: has no meaning with --trace"),
        (("--outcomes", "o.jsonl", "--zipf", "1"), "--zipf: has no meaning with --outcomes"),
        (("--from-ledger", "--seeds", "2"), "--seeds: has no meaning with --from-ledger"),
        (("--hours", "2"), "--hours: has no meaning without --from-ledger"),
        (("--mu", "0.1"), "--mu: has no meaning without --outcomes"),
        (("--burst", "9"), "--burst: has no meaning without --arrivals bursty"),
        (("--period-s", "9"), "--period-s: has no meaning without --arrivals diurnal"),
        (("--think-s", "9"), "--think-s: has no meaning without --session-calls"),
        (("--slowing", "0.1"), "--slowing: has no meaning without --batching continuous"),
        (("--residency", "--plot", "a.png"), "--plot: has no meaning with --residency"),
    ],
)
def test_bad_values_are_one_line(folder, args, message):
    with pytest.raises(DataError) as caught:
        CliRunner().invoke(app, ["simulate", *args], catch_exceptions=False)
    assert caught.value.message.startswith(message)
    assert len(caught.value.message.splitlines()) == 1


async def test_ctrl_c_ends_it_without_a_traceback(folder):
    os.mkfifo(folder / "trace.jsonl")
    command = ("--trace", "trace.jsonl", "--policy", "fifo", "--slots", "1", "--workers", "1")
    process = await start_switchyard("simulate", *command, cwd=folder)
    await asyncio.to_thread(write_much, folder / "trace.jsonl")  # returns when nearly all was read
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in err


def write_much(path):
    """Far more requests than can be simulated before the signal arrives."""
    with path.open("w") as file:
        file.writelines(f'{{"at": {i / 100}, "expert": "expert-{i % 50}"}}\n' for i in range(100_000))
