"""Composition of Experts against one expert of the same budget: small models where they do as well pay for large ones elsewhere.

claim(Path("data/outcomes")).difference       # reward of the composition, less that of the best expert within the budget

The budget is on billions of active parameters, in the mean over queries, as the makers of the models state them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from evals.claims.base import Claim
from evals.claims.held_out import claim_encoder, held_out_rewards
from evals.protocols import protocols
from routers.base import Encoder, FloatArray
from routers.data.table import RewardTable
from routers.families.composition import CompositionRouter
from routers.training.evaluation import paired

PROTOCOL = "mmlupro10"
ACTIVE = {
    "Phi-3-mini-4k-instruct": 3.8,
    "mathstral-7B": 7.2,
    "Meta-Llama-3_1-8B-Instruct": 8.0,
    "Mixtral-8x7B-Instruct-v0.1": 12.9,
    "Yi-34B": 34.4,
    "c4ai-command-r-v01": 35.0,
    "Meta-Llama-3-70B": 70.6,
    "Qwen1.5-72B-Chat": 72.3,
    "jamba-1.5-large": 94.0,
    "Qwen1.5-110B": 111.0,
}
BUDGETS = (8.0, 12.9, 35.0, 70.6, 94.0)


def claim(data: Path) -> Claim:
    """Averaged over the budgets. Raises ValueError when the outcomes are not there."""
    found = [protocol for protocol in protocols(data) if protocol.name == PROTOCOL]
    if not found:
        raise ValueError(f"{data}: expected the outcomes of {PROTOCOL}")
    encoder = claim_encoder()
    ours, theirs = [], []
    for budget in BUDGETS:
        ours.append(held_out_rewards(found[0], partial(_composed, budget), encoder))
        theirs.append(np.concatenate([_best_within(budget, train, test) for train, test in found[0].splits]))
    gain = paired(np.mean(ours, axis=0), np.mean(theirs, axis=0))
    return Claim(
        name="composition",
        paper="arXiv 2412.01868",
        statement="a composition earns more than the best expert that has no more active parameters than it uses",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=len(ours[0]),
    )


def _composed(budget: float, encoder: Encoder) -> CompositionRouter:
    return CompositionRouter(encoder=encoder, budget=budget, sizes=ACTIVE)


def _best_within(budget: float, train: RewardTable, test: RewardTable) -> FloatArray:
    """What the best expert of the training queries within the budget earns, `(n_test,)`."""
    allowed = np.array([ACTIVE[name] <= budget for name in train.experts])
    rewards: FloatArray = test.rewards[:, int(np.where(allowed, train.means, -1.0).argmax())]
    return rewards
