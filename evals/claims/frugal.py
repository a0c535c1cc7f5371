"""The frugal fusion of experts, which decides after each answer whether to ask another, against asking the same best three.

claim(Path("data/outcomes")).difference       # reward by three calls on average, less that of the three best experts' weighted vote
"""

from __future__ import annotations

from pathlib import Path

from evals.claims.base import Claim
from evals.claims.held_out import claim_encoder
from evals.claims.recorded import compare
from evals.fusion.subsets import TopVote
from routers.base import FloatArray
from routers.fusing.budget import Budget
from routers.fusing.fusion import Fusion
from routers.fusing.table import AnswerTable

CALLS = 3


def claim(data: Path) -> Claim:
    """Raises ValueError when the outcomes are not there, ConfigError when the encoder's weights have not been pulled."""
    encoder = claim_encoder()

    def earned(train: AnswerTable, test: AnswerTable) -> tuple[FloatArray, FloatArray]:
        frugal = Fusion(encoder=encoder).fit(train).fuse(test, Budget(mean_calls=CALLS))
        fixed = TopVote(weighted=True).fit(train).curve(test)[CALLS - 1]
        return frugal.rewards(test), fixed.rewards(test)

    gain = compare(data, earned)
    return Claim(
        name="frugal",
        paper="arXiv 2310.01542",
        statement=f"learned fusion by {CALLS} calls on average earns more than the weighted vote of the best {CALLS} experts",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=gain.n,
    )
