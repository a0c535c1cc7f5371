"""Zooter's tag-based label enhancement: a query's rewards are noisy, and mixing in its tag's mean makes a better router.

claim(Path("data/outcomes")).difference       # reward with the tags' means, less reward without
"""

from __future__ import annotations

from pathlib import Path

from evals.claims.base import Claim
from evals.claims.held_out import compare
from routers.families.zooter import ZooterRouter


def claim(data: Path) -> Claim:
    """Nothing but `tag_share` differs."""
    gain = compare(
        data,
        lambda encoder: ZooterRouter(encoder=encoder),
        lambda encoder: ZooterRouter(encoder=encoder, tag_share=0.0),
    )
    return Claim(
        name="zooter",
        paper="arXiv 2311.08692",
        statement="mixing each query's rewards with its tag's mean earns more than learning from the rewards alone",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=gain.n,
    )
