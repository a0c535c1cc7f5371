"""Fusing experts that complement each other: learning which answer to believe, against a vote that knows each expert's strength.

claim(Path("data/outcomes")).difference       # reward by learned fusion of all answers, less that of the weighted vote
"""

from __future__ import annotations

from pathlib import Path

from evals.claims.base import Claim
from evals.claims.held_out import claim_encoder
from evals.claims.recorded import compare
from routers.base import FloatArray
from routers.fusing.evaluation import Baselines, Reference
from routers.fusing.fusion import Fusion
from routers.fusing.table import AnswerTable


def claim(data: Path) -> Claim:
    """Raises ValueError when the outcomes are not there, ConfigError when the encoder's weights have not been pulled."""
    encoder = claim_encoder()

    def earned(train: AnswerTable, test: AnswerTable) -> tuple[FloatArray, FloatArray]:
        fused = Fusion(encoder=encoder).fit(train).fuse(test)
        return fused.rewards(test), Baselines.of(test, Reference.of(train)).weighted_vote

    gain = compare(data, earned)
    return Claim(
        name="fusion_of_experts",
        paper="arXiv 2310.01542",
        statement="learned fusion of all experts' answers earns more than their weighted vote",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=gain.n,
    )
