"""Self-consistency, with experts for samples: what most conclude, each weighted by its log-odds, against the best expert alone.

claim(Path("data/outcomes")).difference       # reward by the vote of all, less that of the best single expert

The paper samples one model many times; here every expert answers once. Weights and the best expert are those of the training part.
"""

from __future__ import annotations

from pathlib import Path

from evals.claims.base import Claim
from evals.claims.recorded import compare
from routers.base import FloatArray
from routers.fusing.evaluation import Baselines, Reference
from routers.fusing.table import AnswerTable


def claim(data: Path) -> Claim:
    """Raises ValueError when the outcomes are not there."""
    gain = compare(data, _earned)
    return Claim(
        name="vote",
        paper="arXiv 2203.11171",
        statement="what most of all experts conclude, weighted, earns more than the best single expert",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=gain.n,
    )


def _earned(train: AnswerTable, test: AnswerTable) -> tuple[FloatArray, FloatArray]:
    known = Baselines.of(test, Reference.of(train))
    return known.weighted_vote, known.best_single
