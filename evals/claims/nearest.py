"""Retrieval of experts on unseen tasks: 32 of a task's queries vote for the one expert that answers all of them.

claim(Path("data/outcomes")).difference       # reward of the expert retrieved, less reward of the best generalist

As in the paper, the library has no instance of the target task: each group of the outcomes is left out in turn. The generalist is
the expert with the best mean on the other groups. The interval is over queries of these tasks, not over tasks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evals.claims.base import Claim
from evals.claims.held_out import claim_encoder
from evals.protocols import MID_POOL
from routers.base import Encoder, FloatArray
from routers.data.outcomes import read_outcomes
from routers.data.table import RewardTable
from routers.families.nearest import NearestRouter
from routers.training.evaluation import bootstrap

VOTERS = 32
DRAWS = 50
"""Of the voters: an expert is retrieved by each draw, and what they earn is averaged."""


def claim(data: Path) -> Claim:
    """The 14 tasks of LLMRouter's training set, and the 14 subjects of MMLU-Pro for its mid pool."""
    encoder = claim_encoder()
    tasks = RewardTable.of(read_outcomes(data / "llmrouter9-train.jsonl.gz"))
    subjects = RewardTable.of(read_outcomes(data / "mmlupro28-dev.jsonl.gz"), MID_POOL)
    gains = np.concatenate([gain_on_unseen_tasks(table, encoder) for table in (tasks, subjects)])
    found = bootstrap(gains)
    return Claim(
        name="nearest",
        paper="arXiv 2302.03202",
        statement=f"on a task unseen, the expert that {VOTERS} of its queries retrieve earns more than the best generalist",
        difference=found.mean,
        low=found.low,
        high=found.high,
        n=len(gains),
    )


def gain_on_unseen_tasks(table: RewardTable, encoder: Encoder) -> FloatArray:
    """`(n_queries,)`: reward of the expert retrieved for the query's task, less that of the best expert of the other tasks."""
    dice = np.random.default_rng(0)
    groups = np.array(table.groups, dtype=str)
    vectors = encoder.encode(table.queries)
    gains = np.empty(len(table), dtype=np.float32)
    for group in np.unique(groups):
        others, own = np.flatnonzero(groups != group), np.flatnonzero(groups == group)
        library = table.rows(others)
        router = NearestRouter(encoder=encoder).fit_encoded(library, vectors[others])
        votes = np.asarray(router.predict_encoded(vectors[own]))
        drawn = [dice.permutation(len(own))[:VOTERS] for _ in range(DRAWS)]
        retrieved = [int(votes[voters].mean(axis=0).argmax()) for voters in drawn]
        generalist = int(library.means.argmax())
        gains[own] = table.rewards[own][:, retrieved].mean(axis=1) - table.rewards[own, generalist]
    return gains
