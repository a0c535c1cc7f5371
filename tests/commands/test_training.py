"""`switchyard train` and `switchyard evaluate` as a user runs them, and what they say of bad input."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from orchestrator.commands import training
from orchestrator.errors import DataError, SwitchyardError
from routers.base import Outcome
from routers.data.outcomes import write_outcomes
from tests.support.cli import start_switchyard, switchyard
from tests.support.outcomes import noise, specialists


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder without an experts.yaml, with a file of outcomes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWITCHYARD_CONFIG", raising=False)
    write_outcomes("data.jsonl", specialists())
    return tmp_path


def train(router="linear", out="router", data=("data.jsonl",), **options):
    training.train(router, Path(out), data=[Path(file) for file in data], **options)


def printed(capsys):
    return json.loads(capsys.readouterr().out)


async def test_from_outcomes_to_a_judged_router_in_two_commands(folder):
    made = await switchyard("train", "linear", "--data", "data.jsonl", "--out", "router", cwd=folder)
    assert made.code == 0, made.err
    lines = made.out.splitlines()
    assert lines[0].startswith("linear, judged by ")
    assert any(line.startswith("gain over the best single expert: +0.") for line in lines)
    assert lines[-1].startswith("wrote router (")
    assert made.err == "", "no progress in a pipe"

    write_outcomes("new.jsonl", [Outcome(f"What is {i} * 7?", {"calculator": 1.0, "poet": 0.0}) for i in range(60)])
    judged = await switchyard("evaluate", "router", "--data", "new.jsonl", "data.jsonl", "--json", cwd=folder)
    body = json.loads(judged.out)
    assert body["n"] == len(specialists()) + 60
    assert body["baselines"].keys() >= {"random", "best_single", "group_best", "oracle"}
    assert sum(body["share"].values()) == pytest.approx(1.0)
    assert body["decision_ms"].keys() == {"p50", "p99"}


async def test_a_router_that_is_worse_is_refused_in_one_line(folder):
    write_outcomes("noise.jsonl", noise())
    options = ("--set", "penalty=0.01", "--data", "noise.jsonl", "--out", "router")
    refused = await switchyard("train", "linear", *options, cwd=folder)
    assert refused.code == 1
    assert refused.err.startswith("router: is not written: on the held-out queries this router earns 0.")
    assert refused.err.count("\n") == 1
    assert not (folder / "router").exists()


def test_it_can_be_forced(folder, capsys):
    write_outcomes("noise.jsonl", noise())
    train(data=["noise.jsonl"], settings=["penalty=0.01"], force=True, as_json=True)
    assert printed(capsys)["artifact"]["path"] == "router"


async def test_ctrl_c_leaves_nothing_behind(folder):
    """The data comes through a pipe, so that the command is known to be at work when it is interrupted."""
    os.mkfifo(folder / "endless.jsonl")
    process = await start_switchyard("train", "linear", "--data", "endless.jsonl", "--out", "router", cwd=folder)
    pipe = await asyncio.to_thread((folder / "endless.jsonl").open, "w")
    pipe.write(json.dumps({"query": "q", "rewards": {"a": 1.0}}) + "\n")
    pipe.flush()
    process.send_signal(signal.SIGINT)
    assert await process.wait() != 0
    pipe.close()
    assert {path.name for path in folder.iterdir()} == {"data.jsonl", "endless.jsonl"}


def test_settings_and_experts_reach_the_router(folder, capsys):
    train(settings=["penalty=3", "link=logit"], experts="poet,calculator", features="hashed:256", as_json=True)
    assert list(printed(capsys)["held_out"]["share"]) == ["poet", "calculator"]
    saved = json.loads((folder / "router" / "config.json").read_text())["router"]
    assert saved["parameters"] == {"penalty": 3.0, "link": "logit"}
    assert saved["encoder"] == "hashed-256-4096"


def test_an_evaluation_can_be_narrowed(folder, capsys):
    write_outcomes("split.jsonl", [Outcome(o.query, o.rewards, group=o.group, split=o.group) for o in specialists()])
    train()
    capsys.readouterr()
    training.evaluate(Path("router"), data=[Path("split.jsonl")], groups="sums", as_json=True)
    assert printed(capsys)["baselines"]["best_single"] == pytest.approx(0.2)
    training.evaluate(Path("router"), data=[Path("split.jsonl")], split="chats", experts="poet", as_json=True)
    assert printed(capsys)["share"] == {"poet": 1.0}
    with pytest.raises(DataError, match="no query has the group 'maths', expected one of chats, sums"):
        training.evaluate(Path("router"), data=[Path("split.jsonl")], groups="maths")
    with pytest.raises(DataError, match="no query has the split 'sums', expected one of chats"):
        training.evaluate(Path("router"), data=[Path("split.jsonl")], groups="chats", split="sums")


def test_a_fleet_is_welcome(folder, capsys):
    Path("experts.yaml").write_text("version: 1\nexperts:\n  - {name: poet, backend: echo, description: verse}\n")
    train()
    assert "wrote router" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "expected outcomes with at least one reward, got none"),
        ('{"query": "q", "rewards": {}}', "expected outcomes with at least one reward, got none"),
        ('{"query": "q", "rewards": {"a": 1}}', "1 query is too few"),
        (
            '{"query": "q", "rewards": {"a": NaN}}',
            r"bad.jsonl:1: field 'rewards.a': expected a number from 0 to 1, got NaN",
        ),
        (
            '{"query": "q", "rewards": {"a": 2}}',
            r"bad.jsonl:1: field 'rewards.a': expected a number from 0 to 1, got 2",
        ),
        ('{"query": "q", "rewards": {"a": 1}', "bad.jsonl:1: expected a JSON object, got broken JSON"),
        (
            '{"query": "q", "rewards": {"a": 1}, "split": "train"}\n{"query": "p", "rewards": {"b": 1}, "split": "test"}',
            "too few",
        ),
    ],
    ids=["empty", "no rewards", "one query", "NaN", "beyond 1", "cut short", "experts only in test"],
)
def test_outcomes_that_cannot_be_used_are_told(folder, lines, message):
    Path("bad.jsonl").write_text(lines)
    with pytest.raises(DataError, match=message):
        train(data=["bad.jsonl"])
    assert not Path("router").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": ["gone.jsonl"]}, "^gone.jsonl: No such file or directory$"),
        ({"data": []}, "no outcomes: give --data FILE"),
        ({"from_ledger": True}, "--data and --from-ledger exclude each other"),
        ({"router": "liner"}, "unknown router type 'liner', expected one of"),
        ({"settings": ["penality=3"]}, "unknown parameter 'penality'"),
        ({"settings": ["penalty"]}, "got 'penalty', expected KEY=VALUE"),
        ({"settings": ["penalty=.nan"]}, "parameter 'penalty' .* should be a finite number, got nan"),
        ({"experts": ""}, "no outcome has the expert '', expected some of calculator, poet"),
        ({"features": "hashed:1000000000"}, "features of 1,000,000,000 dimensions: not even one query's fit"),
        ({"experts": "poet,nobody"}, "no outcome has the expert 'nobody', expected some of calculator, poet"),
        ({"features": "bert"}, "'bert' is nothing that texts can be read with"),
        ({"lambda_": 1.0}, "lambda needs costs, and no outcome has one"),
        ({"out": "."}, "is there and is no artifact"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_that_are_wrong_are_told(folder, options, message):
    with pytest.raises(SwitchyardError, match=message):
        train(**options)


def _flip_a_bit(folder):
    weights = folder / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)


def _rewrite(folder, before, after):
    config = folder / "config.json"
    config.write_text(config.read_text().replace(before, after))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / "config.json").write_text('{"format"'),
            "config.json: damaged: expected a JSON object",
        ),
        (
            lambda folder: (folder / "weights.safetensors").write_bytes(b"{"),
            "weights.safetensors: damaged: expected sha256",
        ),
        (_flip_a_bit, "weights.safetensors: damaged: expected sha256"),
        (
            lambda folder: _rewrite(folder, '"format": 1', '"format": 99'),
            "has format 99, expected 1: train the router again",
        ),
        (lambda folder: _rewrite(folder, "poet", "poser"), "damaged: its content does not match its fingerprint"),
        (lambda folder: (folder / "config.json").unlink(), "can't be read .*expected the folder of a trained router"),
    ],
    ids=["config cut", "weights cut", "bit flipped", "other version", "edited", "no artifact"],
)
def test_an_artifact_that_cannot_be_used_is_told(folder, damage, message):
    train()
    damage(Path("router"))
    with pytest.raises(DataError, match=message):
        training.evaluate(Path("router"), data=[Path("data.jsonl")])


def test_an_artifact_of_other_experts_is_told(folder):
    train()
    write_outcomes("other.jsonl", [Outcome("q", {"x": 1.0})])
    with pytest.raises(DataError, match="the router's experts are calculator, poet; the outcomes have x, none of them"):
        training.evaluate(Path("router"), data=[Path("other.jsonl")])
