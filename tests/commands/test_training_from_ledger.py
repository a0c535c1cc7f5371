"""Learning from the gateway's own decisions, whose experts were chosen by somebody who knew what they are good at."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.commands import training
from orchestrator.commands.outcomes import write_ledger
from orchestrator.errors import DataError
from orchestrator.fleet.configfile import read_config
from orchestrator.service import make_ledger
from orchestrator.types import Decision, Feedback
from routers.base import Outcome
from routers.data.loading import read_table
from routers.data.table import RewardTable
from routers.encoders import HashedEncoder
from routers.training.evaluation import choose, earned, paired
from routers.training.fitting import TrainingSettings, train
from routers.training.judging import expected_rewards

YAML = "version: 1\nexperts:\n  - {name: star, backend: echo}\n  - {name: steady, backend: echo}\n"
EASY = {"maths": 0.8, "law": 0.3}
"""Of each topic's questions, the share that is easy. The text doesn't say which; the policy that was logged knew."""


def a_fleet(folder):
    path = folder / "experts.yaml"
    path.write_text(YAML)
    return path


def questions(n, seed):
    """Whether it is easy, its text, and both rewards: the star's depend on how easy it is, the steady one's don't."""
    dice = np.random.default_rng(seed)
    for i in range(n):
        topic = "maths" if i % 2 else "law"
        easy = dice.random() < EASY[topic]
        yield easy, f"{topic} {topic} question {dice.integers(10**6)}", {"star": 0.9 if easy else 0.1, "steady": 0.55}


async def fill_ledger(config_path, n, seed):
    """The policy sends easy questions to the star and hard ones to the steady one, nine times of ten."""
    dice = np.random.default_rng(seed + 1)
    ledger = make_ledger(read_config(config_path), config_path.parent)
    await ledger.open()
    for i, (easy, text, rewards) in enumerate(questions(n, seed)):
        preferred, other = ("star", "steady") if easy else ("steady", "star")
        expert, propensity = (preferred, 0.9) if dice.random() < 0.9 else (other, 0.1)
        ledger.record(
            Decision(
                id=f"sw-{i}", created_at=float(i), kind="chat", model="auto", policy="auto", text=text, key_id="anonymous",
                expert=expert, router="default", propensity=propensity, status=200,
            )
        )  # fmt: skip
        await ledger.feedback(Feedback(f"sw-{i}", score=rewards[expert]))
    await ledger.close()


def earned_by_training_on(logged, test):
    router = train(logged, TrainingSettings("linear", {"penalty": 1.0}), encoder=HashedEncoder(256)).router
    return earned(test, choose(expected_rewards(router, test.queries, test.experts)))


async def test_propensities_undo_what_the_logged_policy_preferred(tmp_path):
    """As logged, the star looks good at everything it was asked: on law it is worse than the steady one."""
    config = a_fleet(tmp_path)
    await fill_ledger(config, 400, seed=0)
    await write_ledger(config, tmp_path / "logged.jsonl")
    logged, _ = read_table([tmp_path / "logged.jsonl"], experts=("star", "steady"))
    assert set(np.round(logged.weights[logged.tried], 3)) == {np.float32(1.111), np.float32(10.0)}

    test = RewardTable.of(Outcome(text, rewards) for _, text, rewards in questions(2_000, seed=9))
    uncorrected = replace(logged, weights=np.ones_like(logged.weights))
    gain = paired(earned_by_training_on(logged, test), earned_by_training_on(uncorrected, test))
    assert gain.low > 0.0, gain


def test_train_reads_the_ledger_of_the_yaml(tmp_path, capsys):
    config, out = a_fleet(tmp_path), tmp_path / "router"
    with pytest.raises(DataError, match="the ledger has no decision with feedback yet"):
        training.train("linear", out, from_ledger=True, config=config)
    asyncio.run(fill_ledger(config, 120, seed=0))
    training.train("linear", out, from_ledger=True, config=config, force=True)
    assert "elsewhere what it would have earned is estimated" in capsys.readouterr().out
    assert (out / "card.md").is_file()
