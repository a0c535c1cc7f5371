"""A new expert's embedding from a few outcomes: every expert in turn is left out and comes back with 30 of them.

claim(Path("data/outcomes")).difference       # reward with the expert that came back, less reward without it
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from evals.claims.base import Claim
from evals.claims.held_out import PROTOCOLS, claim_encoder
from evals.protocols import protocols
from routers.base import Encoder, ExpertCard, FloatArray, Outcome
from routers.evaluation import choose, earned, paired
from routers.factorization import FactorizationRouter
from routers.table import RewardTable

EXAMPLES = 30


def claim(data: Path) -> Claim:
    """Averaged over the experts that are left out. Raises ValueError when no outcomes are there."""
    encoder = claim_encoder()
    found = [protocol for protocol in protocols(data) if protocol.name in PROTOCOLS]
    if not found:
        raise ValueError(f"{data}: expected the outcomes of one of {', '.join(PROTOCOLS)}")
    parts = [_both(train, test, encoder) for protocol in found for train, test in protocol.splits]
    with_it, without = (np.concatenate([part[i] for part in parts]) for i in range(2))
    gain = paired(with_it, without)
    return Claim(
        name="factorization",
        paper="arXiv 2408.15901, 2406.18665",
        statement=f"routing with an expert that was added from {EXAMPLES} outcomes, without retraining, beats doing without it",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=len(with_it),
    )


def _both(train: RewardTable, test: RewardTable, encoder: Encoder) -> tuple[FloatArray, FloatArray]:
    """Mean reward over left-out experts `(n_test,)`, with each of them added and without it."""
    vectors, asked = encoder.encode(train.queries), encoder.encode(test.queries)
    added, lacking = [], []
    for column, name in enumerate(train.experts):
        others = [other for other in train.experts if other != name]
        router = FactorizationRouter(encoder=encoder).fit_encoded(train.only(others), vectors)
        lacking.append(earned(test.only(others), choose(_scores(router, asked))))
        router.add_expert(ExpertCard(name), list(_examples(train, column)))
        added.append(earned(test.only([*others, name]), choose(_scores(router, asked))))
    return np.mean(added, axis=0), np.mean(lacking, axis=0)


def _examples(train: RewardTable, column: int) -> Iterator[Outcome]:
    dice = np.random.default_rng(column)
    for row in dice.choice(len(train), EXAMPLES, replace=False):
        yield Outcome(train.queries[row], {train.experts[column]: float(train.rewards[row, column])})


def _scores(router: FactorizationRouter, asked: FloatArray) -> FloatArray:
    return np.asarray(router.predict_encoded(asked), dtype=np.float32)
