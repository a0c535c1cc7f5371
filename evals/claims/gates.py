"""PHATGOOSE's learned gates against its baseline of average activations, both from each expert's own outcomes alone.

claim(Path("data/outcomes")).difference       # reward of gates, less reward of average vectors
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evals.claims.base import Claim
from evals.claims.held_out import compare
from routers.base import FloatArray
from routers.data.table import RewardTable
from routers.families.gates import GatesRouter


class AverageRouter(GatesRouter):
    """An expert's gate is the mean vector of its queries, each counting by its reward, at length 1."""

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        means = np.nan_to_num(table.rewards * table.weights).T @ vectors
        unit = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
        self.gates_ = np.column_stack([unit, np.zeros(len(unit))]).astype(np.float32)


def claim(data: Path) -> Claim:
    """Both compare vectors that were made apart from one another."""
    gain = compare(data, lambda encoder: GatesRouter(encoder=encoder), lambda encoder: AverageRouter(encoder=encoder))
    return Claim(
        name="gates",
        paper="arXiv 2402.05859",
        statement="gates trained apart earn more than routing by the similarity to each expert's average vector",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=gain.n,
    )
