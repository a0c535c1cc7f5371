"""`switchyard evaluate --from-ledger` and `switchyard promote --if-better`: a router beside what was live."""

import asyncio
import json
import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from orchestrator.commands import promotion, training
from orchestrator.errors import ConfigError, DataError
from orchestrator.fleet.configfile import load_config, read_config
from orchestrator.service import make_ledger
from orchestrator.types import Decision, Feedback
from tests.support.artifacts import CHATS, SUMS, trained
from tests.support.cli import switchyard

YAML = """\
version: 1
experts:
  - {name: a, backend: echo}
  - {name: b, backend: echo, price: {input: 10, output: 100}}
policies:
  auto: {explore: 0.5}
  frugal: {lambda: 1.0}
"""
EVENLY = {"a": 0.5, "b": 0.5}
WRITTEN = 1_000.0
"""When the artifact was written, on the clock of the decisions."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A fleet, and a router that knows that `b` is good at sums and `a` at chat."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWITCHYARD_CONFIG", raising=False)
    (tmp_path / "experts.yaml").write_text(YAML)
    trained(tmp_path / "router", good_at_sums="b", good_at_chat="a")
    os.utime(tmp_path / "router" / "config.json", (WRITTEN, WRITTEN))
    return tmp_path


async def fill(folder, n, *, propensities=EVENLY, right=1.0, wrong=0.0, policy="auto", begin=WRITTEN, scored=1.0):
    """Decisions drawn with these propensities, a second apart; feedback on some."""
    config = read_config(folder / "experts.yaml")
    ledger, dice = make_ledger(config, folder), np.random.default_rng(0)
    await ledger.open()
    for i in range(n):
        text = (SUMS if i % 2 else CHATS)[int(dice.integers(12))]
        expert = str(dice.choice(list(propensities), p=list(propensities.values())))
        id_ = f"sw-{policy}-{begin}-{i}"
        ledger.record(
            Decision(
                id=id_, created_at=begin + i, kind="chat", model=policy, policy=policy, text=text, key_id="anonymous",
                expert=expert, router="default", propensity=propensities[expert], propensities=propensities, status=200,
            )
        )  # fmt: skip
        if dice.random() < scored:
            await ledger.feedback(Feedback(id_, score=right if (expert == "b") == (text in SUMS) else wrong))
    await ledger.close()


def evaluated(capsys, folder, **options):
    training.evaluate(folder / "router", from_ledger=True, as_json=True, **options)
    return json.loads(capsys.readouterr().out)


def test_a_better_router_is_told_so_and_promoted(folder, capsys):
    asyncio.run(fill(folder, 100))
    body = evaluated(capsys, folder)
    assert (body["verdict"], body["decisions"], body["with_feedback"]) == ("promote", 100, 100)
    assert body["candidate"]["mean"] == pytest.approx(1.0, abs=0.1)
    assert body["difference"]["ci95"][0] > 0.3
    assert body["chosen"] == {"a": 50, "b": 50}
    promotion.promote(folder / "router", if_better=True)
    first, second, _ = capsys.readouterr().out.splitlines()
    assert first.startswith("the candidate earns more than what was live: +0.")
    assert "is the router of auto" in second


async def test_one_that_is_not_shown_to_be_better_is_refused_in_one_line(folder):
    await fill(folder, 100, right=0.0, wrong=1.0)
    refused = await switchyard("promote", "router", "--if-better", cwd=folder)
    assert refused.code == 1
    assert refused.err.startswith(
        "router: is not promoted: the candidate does not earn 0.005 more than what was live: -0."
    )
    assert refused.err.count("\n") == 1
    assert load_config(folder / "experts.yaml").policies["auto"].router == "default"


def test_the_report_says_what_the_log_can_not(folder, capsys):
    """What was live always took `a`."""
    asyncio.run(fill(folder, 100, propensities={"a": 1.0, "b": 0.0}, scored=0.8))
    training.evaluate(Path("router"), from_ledger=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("router beside what was live for auto, on 100 decisions since 1970-01-01")
    assert any(line.split() == ["b", "50", "50"] for line in lines)
    assert (
        "note: the candidate would have chosen b 50 times where it was never asked: nothing is known about those"
        in lines
    )
    assert not any(line.startswith("decisions needed") for line in lines), "more of the same would tell no more"
    assert lines[-1].startswith("not enough data: 50.0% of the candidate's choices had no chance of being made")


def test_decisions_from_before_the_router_was_written_take_no_part(folder, capsys):
    asyncio.run(fill(folder, 50, begin=0.0))
    with pytest.raises(DataError, match="auto has no decision with feedback since 1970-01-01"):
        evaluated(capsys, folder)
    assert evaluated(capsys, folder, since=datetime.fromtimestamp(20.0))["decisions"] == 30


def test_the_policys_lambda_weighs_costs_unless_another_is_given(folder, capsys):
    """By its price an answer of `b` costs 5 cents, and saves at most one reward."""
    asyncio.run(fill(folder, 50, policy="frugal"))
    frugal = evaluated(capsys, folder, policy="frugal")
    assert (frugal["lambda"], frugal["chosen"]) == (1.0, {"a": 50})
    assert evaluated(capsys, folder, policy="frugal", lambda_=0.0)["chosen"] == {"a": 25, "b": 25}


def test_an_expert_that_the_router_does_not_know_is_named(folder, capsys):
    asyncio.run(fill(folder, 50, propensities={"a": 0.4, "b": 0.4, "newcomer": 0.2}))
    body = evaluated(capsys, folder)
    assert "newcomer" not in body["chosen"]
    assert body["notes"][0] == "unknown to the router, so it scores 0: newcomer"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"policy": "nobody"}, ConfigError, "'nobody' is no policy; expected one of auto, frugal"),
        ({"groups": "maths"}, DataError, "--from-ledger takes --policy, --since and --lambda alone"),
        ({"experts": "a"}, DataError, "--from-ledger takes --policy, --since and --lambda alone"),
        ({"from_ledger": False, "since": datetime(2026, 1, 1)}, DataError, "--since belongs to --from-ledger"),
        ({"from_ledger": False}, DataError, "give --data FILE, or --from-ledger"),
    ],
)
def test_options_that_do_not_go_together_are_errors(folder, options, error, message):
    with pytest.raises(error, match=message):
        training.evaluate(folder / "router", **({"from_ledger": True} | options))


@pytest.mark.parametrize("options", [{"shadow": True}, {"rollback": True}, {"folder": None}])
def test_if_better_is_about_an_artifact_that_would_go_live(folder, options):
    with pytest.raises(ConfigError, match="--if-better takes the DIR of an artifact"):
        promotion.promote(**({"folder": folder / "router", "if_better": True} | options))


def test_since_belongs_to_if_better(folder):
    with pytest.raises(ConfigError, match="--since belongs to --if-better"):
        promotion.promote(folder / "router", since=datetime(2026, 1, 1))
