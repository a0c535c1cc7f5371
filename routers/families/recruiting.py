"""Who is recruited for a query, and who combines what they say.

    weights = recruit(router.predict(queries), k=3)              # (n_queries, n_experts), zeros for those who stay at home
    choice = choose_aggregator(measured)
    choice.for_group("math")                                     # the expert to combine answers to questions of mathematics

As in Symbolic-MoE (arXiv 2503.05641): k experts by their scores, and as aggregator not the best expert but the one that was
measured to combine others' answers best, task by task. Not here: measuring that, and combining.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kernels.gating import gate
from routers.base import FloatArray
from routers.data.table import RewardTable
from routers.parts.regions import one_hot, shrunk_means

TEMPERATURE = 0.5
"""The paper's, for the softmax over scores."""
PSEUDO_ROWS = 20.0
"""How many rows a candidate's overall mean counts for in each group."""


@dataclass(frozen=True, slots=True)
class AggregatorChoice:
    """overall: the best aggregator where nothing is known of a query's group. by_group: the best for each group."""

    overall: str
    by_group: Mapping[str, str]

    def for_group(self, group: str | None) -> str:
        return self.by_group.get(group, self.overall) if group is not None else self.overall


def recruit(scores: FloatArray, k: int, temperature: float = TEMPERATURE) -> FloatArray:
    """Weights `(n_queries, n_experts)` of the `k` best experts of each query, rows sum to 1: their softmax shares.

    Raises ValueError unless `k` is at least 1 and the temperature above 0.
    """
    return gate(scores, temperature, top_k=k)


def choose_aggregator(measured: RewardTable) -> AggregatorChoice:
    """measured: the reward of each candidate's combination of the same answers, one column a candidate. The first of equals.

    Raises ValueError when nothing was measured.
    """
    if not len(measured):
        raise ValueError("no combination was measured, expected at least one")
    means = np.where(measured.tried.any(axis=0), measured.means, -np.inf)
    overall = measured.experts[int(means.argmax())]
    grouped = measured.rows(np.array([group is not None for group in measured.groups]))
    if not len(grouped):
        return AggregatorChoice(overall, {})
    groups, labels = np.unique(np.array(grouped.groups, dtype=str), return_inverse=True)
    by_group, _ = shrunk_means(grouped, one_hot(labels, len(groups)), measured.means, PSEUDO_ROWS)
    best = np.where(np.isneginf(means), -np.inf, by_group).argmax(axis=1)
    return AggregatorChoice(overall, {str(group): measured.experts[i] for group, i in zip(groups, best, strict=True)})
