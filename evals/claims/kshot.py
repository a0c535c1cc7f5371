"""K-shot guided selection: a few labelled examples of a task choose a better expert for it than all outcomes of all tasks do.

claim(Path("data/outcomes")).difference       # reward of the expert so chosen, less reward of the best expert over all tasks

A task's expert is the first that `recruit` takes by K of its training queries; draws of these are averaged.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evals.claims.base import Claim
from evals.protocols import protocols
from routers.base import FloatArray
from routers.data.table import RewardTable
from routers.families.kshot import recruit
from routers.training.evaluation import bootstrap

SHOTS = 50
DRAWS = 10


def claim(data: Path) -> Claim:
    """Five folds of LLMRouter's training set, which has 14 tasks."""
    protocol = next(found for found in protocols(data) if found.name == "llmrouter9")
    gains = np.concatenate([gain_by_examples(train, test) for train, test in protocol.splits])
    found = bootstrap(gains)
    return Claim(
        name="kshot",
        paper="arXiv 2408.15915",
        statement=f"the expert that {SHOTS} labelled examples of a task choose earns more on it than the best over all tasks",
        difference=found.mean,
        low=found.low,
        high=found.high,
        n=len(gains),
    )


def gain_by_examples(train: RewardTable, test: RewardTable) -> FloatArray:
    """`(n_queries,)`: reward of the expert that the examples of the query's task chose, less that of the best over all tasks."""
    dice = np.random.default_rng(0)
    train_tasks, test_tasks = np.array(train.groups, dtype=str), np.array(test.groups, dtype=str)
    single = int(train.means.argmax())
    gains = np.zeros(len(test), dtype=np.float32)
    for task in np.unique(test_tasks):
        known, asked = np.flatnonzero(train_tasks == task), test_tasks == task
        for _ in range(DRAWS):
            (chosen,) = recruit(train.rewards[dice.permutation(known)[:SHOTS]], 1)
            gains[asked] += (test.rewards[asked, chosen] - test.rewards[asked, single]) / DRAWS
    return gains
