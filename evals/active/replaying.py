"""A sampler on rewards that are known already, as if each were paid for: what benchmarks and tests measure calls with.

replay(make_sampler("best_arm", problem), table.rewards).num_calls
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evals.active.base import Sampler, Verdict, affordable
from routers.base import FloatArray


@dataclass(frozen=True)
class Replayed:
    """seen: `(n_queries, n_experts)`, the rewards that were paid for, NaN elsewhere."""

    verdict: Verdict
    seen: FloatArray

    @property
    def num_calls(self) -> int:
        return int((~np.isnan(self.seen)).sum())


def replay(sampler: Sampler, rewards: FloatArray, budget: int | None = None) -> Replayed:
    """Until the sampler is done, or `budget` calls are paid for. rewards: `(n_queries, n_experts)`, without gaps."""
    seen = np.full_like(rewards, np.nan)
    left = rewards.size if budget is None else budget
    while True:
        step = sampler.advance(seen)
        experts, queries = affordable(step.pairs, left).T
        if not len(experts):
            return Replayed(step.verdict, seen)
        seen[queries, experts] = rewards[queries, experts]
        left -= len(experts)
