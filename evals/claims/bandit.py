"""LinUCB with and without a prior from offline outcomes, on real outcomes replayed: one answer per query, one reward, next query.

claim(Path("data/outcomes")).difference       # reward per query with the prior, less without: what it saves of the regret

Both routers read the same features and explore alike; the one without believes nothing that offline outcomes say of the experts
(`prior_rows=0`). Several orders are replayed, and a query's difference is its mean over those in which it came online. The
interval is over queries.
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
from routers.families.bandit import BanditRouter
from routers.training.evaluation import bootstrap

OFFLINE, ONLINE = 500, 2_000
"""Queries in each order: those known before, and those that come."""
ORDERS = 5


def claim(data: Path) -> Claim:
    """LLMRouter's training set, and MMLU-Pro for its mid pool."""
    encoder = claim_encoder()
    sets = (("llmrouter9-train.jsonl.gz", None), ("mmlupro28-dev.jsonl.gz", MID_POOL))
    tables = [RewardTable.of(read_outcomes(data / name), experts) for name, experts in sets]
    gains = np.concatenate([gain_by_prior(table, encoder) for table in tables])
    found = bootstrap(gains)
    return Claim(
        name="bandit",
        paper="arXiv 1003.0146, 1901.00301",
        statement=f"LinUCB that starts from {OFFLINE} offline outcomes has less regret over {ONLINE:,} queries than from nothing",
        difference=found.mean,
        low=found.low,
        high=found.high,
        n=int((~np.isnan(gains)).sum()),
    )


def gain_by_prior(table: RewardTable, encoder: Encoder) -> FloatArray:
    """`(n_queries,)`: reward with the prior less reward without, NaN for queries that never came online."""
    vectors = encoder.encode(table.queries)
    sums, times = np.zeros(len(table)), np.zeros(len(table))
    for seed in range(ORDERS):
        order = np.random.default_rng(seed).permutation(len(table))
        offline, online = order[:OFFLINE], order[OFFLINE : OFFLINE + ONLINE]
        known = table.rows(offline)
        warm, cold = (
            BanditRouter(encoder=encoder, exploration="bonus", prior_rows=rows).fit_encoded(known, vectors[offline])
            for rows in (None, 0.0)
        )
        asked = table.rows(online)
        sums[online] += replay(warm, asked, vectors[online]) - replay(cold, asked, vectors[online])
        times[online] += 1
    gains: FloatArray = np.where(times > 0, sums / np.maximum(times, 1), np.nan).astype(np.float32)
    return gains


def replay(router: BanditRouter, table: RewardTable, vectors: FloatArray) -> FloatArray:
    """`(n_queries,)`: what the router earns, learning from each reward before the next query. No cell may be missing."""
    earned = np.empty(len(table), dtype=np.float32)
    for i, vector in enumerate(vectors[:, None]):
        choice = int(router.predict_encoded(vector).argmax())
        earned[i] = table.rewards[i, choice]
        router.update_encoded(vector, [table.experts[choice]], [float(earned[i])])
    return earned
