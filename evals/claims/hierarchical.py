"""MoEC's case for clusters of experts: held together and dropped together in training, they overfit less.

claim(Path("data/outcomes")).difference       # reward with both, less reward without
"""

from __future__ import annotations

from pathlib import Path

from evals.claims.base import Claim
from evals.claims.held_out import compare
from routers.families.hierarchical import HierarchicalRouter


def claim(data: Path) -> Claim:
    """Nothing but the variance constraint and the dropout differs."""
    gain = compare(
        data,
        lambda encoder: HierarchicalRouter(encoder=encoder),
        lambda encoder: HierarchicalRouter(encoder=encoder, variance=0.0, dropout=0.0),
    )
    return Claim(
        name="hierarchical",
        paper="arXiv 2207.09094",
        statement="a variance constraint within groups of experts and dropout of whole groups earn more than neither",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=gain.n,
    )
