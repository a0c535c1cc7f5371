"""A new expert's embedding from a few outcomes: the best expert is left out, and comes back with 30 of them.

    claim(Path("data/outcomes")).difference       # reward with the expert that came back, less reward without it

An outcome here is a query with the rewards of all experts. For the best expert alone: averaged over all experts, each left out in
An outcome here is a query with the rewards of all experts. For the best expert alone: over all experts, each left out in
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evals.claims.base import Claim
from evals.claims.held_out import PROTOCOLS, claim_encoder
from evals.protocols import FOLDS, protocols
from routers.base import Encoder, ExpertCard, FloatArray, Outcome
from routers.data.table import RewardTable
from routers.families.factorization import FactorizationRouter
from routers.training.evaluation import choose, earned, paired

EXAMPLES = 30


def claim(data: Path) -> Claim:
    """The best expert is that of the training queries. Raises ValueError when no outcomes are there."""
    encoder = claim_encoder()
    found = [protocol for protocol in protocols(data) if protocol.name in PROTOCOLS]
    if not found:
        raise ValueError(f"{data}: expected the outcomes of one of {', '.join(PROTOCOLS)}")
    parts = [_both(train, test, encoder) for protocol in found for train, test in protocol.splits[:FOLDS]]
    with_it, without = (np.concatenate([part[i] for part in parts]) for i in range(2))
    gain = paired(with_it, without)
    return Claim(
        name="factorization",
        paper="arXiv 2408.15901, 2406.18665",
        statement=f"the best expert, added from {EXAMPLES} outcomes without retraining, raises what routing earns",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=len(with_it),
    )


def _both(train: RewardTable, test: RewardTable, encoder: Encoder) -> tuple[FloatArray, FloatArray]:
    """What is earned with the expert added, and without it, `(n_test,)` each."""
    name = train.experts[int(train.means.argmax())]
    others = [other for other in train.experts if other != name]
    asked = encoder.encode(test.queries)
    router = FactorizationRouter(encoder=encoder).fit_encoded(train.only(others), encoder.encode(train.queries))
    without = earned(test.only(others), choose(_scores(router, asked)))
    dice = np.random.default_rng(0)
    router.add_expert(
        ExpertCard(name), [_outcome(train, row) for row in dice.choice(len(train), EXAMPLES, replace=False)]
    )
    return earned(test.only([*others, name]), choose(_scores(router, asked))), without


def _outcome(train: RewardTable, row: int) -> Outcome:
    rewards = zip(train.experts, train.rewards[row].tolist(), strict=True)
    return Outcome(train.queries[row], {name: reward for name, reward in rewards if not np.isnan(reward)})


def _scores(router: FactorizationRouter, asked: FloatArray) -> FloatArray:
    return np.asarray(router.predict_encoded(asked), dtype=np.float32)
