"""Pilot embeddings among embedding experts: routed questions find more than the best single expert does.

claim(Path("data/outcomes")).difference       # nDCG@10 of the experts chosen, less that of the best single one

The task is `evals/retrieval.py`'s, made of documentation that is installed here, so that the folder of outcomes plays no part. As
in the paper, domains are mixed and experts differ by domain, here by language.
"""

from __future__ import annotations

from pathlib import Path

from evals.claims.base import Claim
from evals.claims.held_out import SHIPPED
from evals.documentation import read_passages
from evals.retrieval import PER_COLLECTION, held_out_choices, retrieval_outcomes, shipped_embedders
from routers.data.table import RewardTable
from routers.training.evaluation import earned, paired


def claim(data: Path) -> Claim:
    """Five-fold cross-validation; the best single expert is chosen on the same folds. The first time takes minutes."""
    experts = shipped_embedders(SHIPPED)
    table = RewardTable.of(retrieval_outcomes(read_passages(PER_COLLECTION), experts))
    choices = held_out_choices(table, experts["minilm"])
    gain = paired(earned(table, choices["retriever"]), earned(table, choices["best single"]))
    return Claim(
        name="retriever",
        paper="arXiv 2409.02685",
        statement="over mixed domains, embedding experts chosen by pilot embeddings find more than the best single one",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=len(table),
        unit="nDCG@10",
    )
