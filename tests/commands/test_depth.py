"""`switchyard fuse depth` as a user runs it."""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from orchestrator.commands.depth import depth
from orchestrator.commands.training import train
from orchestrator.config import PolicySpec
from orchestrator.errors import DataError
from routers.data.outcomes import write_outcomes
from tests.support.cli import switchyard
from tests.support.recorded import recorded_outcomes

SKILLS = {"a": [0.8, 0.4], "b": [0.4, 0.7], "c": 0.6}


@pytest.fixture
def folder(tmp_path, monkeypatch, capsys):
    """A folder without an experts.yaml, with a router and outcomes that it has not seen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWITCHYARD_CONFIG", raising=False)
    for name, seed in (("old.jsonl", 0), ("new.jsonl", 1)):
        write_outcomes(name, recorded_outcomes(SKILLS, n=300, seed=seed))
    train("linear", Path("router"), data=[Path("old.jsonl")], features="hashed", force=True)
    capsys.readouterr()
    return tmp_path


async def test_what_is_printed_is_a_policy(folder):
    done = await switchyard("fuse", "depth", "router", "--data", "new.jsonl", "--mean-calls", "2", cwd=folder)
    assert done.code == 0, done.err
    policy = PolicySpec.model_validate(YAML(typ="safe").load(done.out))
    assert policy.mode == "adaptive"
    assert "# on 300 queries, each judged by what the others chose:" in done.out
    assert done.err == ""


def test_json_has_the_numbers_and_their_intervals(folder, capsys):
    depth(Path("router"), [Path("new.jsonl")], target_reward=0.65, as_json=True)
    body = json.loads(capsys.readouterr().out)
    assert body.keys() == {"sure", "top_p", "n", "reward", "calls", "alone", "gain", "notes"}
    assert body["reward"].keys() == {"mean", "low", "high"}
    assert body["calls"]["low"] <= body["calls"]["mean"] <= body["calls"]["high"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either --target-reward or --mean-calls"),
        ({"target_reward": 0.5, "mean_calls": 2.0}, "either --target-reward or --mean-calls"),
        ({"target_reward": 0.99}, "no depth meets the target"),
        ({"mean_calls": 2.0, "panel": "a,z"}, "the panel's 'z' is unknown"),
    ],
)
def test_targets_that_make_no_sense_are_refused(folder, options, message):
    with pytest.raises(DataError, match=message):
        depth(Path("router"), [Path("new.jsonl")], **options)
