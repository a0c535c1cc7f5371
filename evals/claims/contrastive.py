"""RouterDC's case against "which expert is best" labels: where several experts do well, a label for one of them misleads.

claim(Path("data/outcomes")).difference       # reward with several positives, less reward with the single best as label
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from evals.claims.base import Claim
from evals.claims.held_out import compare
from routers.base import FloatArray
from routers.data.table import RewardTable
from routers.families.contrastive import ContrastiveRouter

ALL = 1_000


class LabelRouter(ContrastiveRouter):
    """The paper's CosineClassifier: in the same space, cross-entropy against the best expert, by lot where several are."""

    def fit_table(self, table: RewardTable, vectors: FloatArray) -> None:
        lots = np.random.default_rng(self.seed).random(table.rewards.shape)
        best = np.where(table.rewards == np.nanmax(table.rewards, axis=1, keepdims=True), lots, -1.0).argmax(axis=1)
        labels = np.where(table.tried, np.float32(0.0), np.float32(np.nan))
        labels[np.arange(len(table)), best] = 1.0
        super().fit_table(replace(table, rewards=labels), vectors)


def claim(data: Path) -> Claim:
    """Both losses of the paper with its three positives and three negatives, against classification."""
    gain = compare(
        data,
        lambda encoder: ContrastiveRouter(encoder=encoder, positives=3, negatives=3),
        lambda encoder: LabelRouter(encoder=encoder, positives=1, negatives=ALL, sample_weight=0.0),
    )
    return Claim(
        name="contrastive",
        paper="arXiv 2409.19886",
        statement="dual contrast with several good experts per query earns more than classification by the best one",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=gain.n,
    )
