"""Expertise trees against their naive alternative, the nearest neighbours.

claim(Path("data/outcomes")).difference       # reward of trees, less that of the nearest queries' means
"""

from __future__ import annotations

from pathlib import Path

from evals.claims.base import Claim
from evals.claims.held_out import compare
from routers.families.tree import TreeRouter


def claim(data: Path) -> Claim:
    """Nothing but the variant differs."""
    gain = compare(
        data,
        lambda encoder: TreeRouter(encoder=encoder),
        lambda encoder: TreeRouter(encoder=encoder, variant="nearest"),
    )
    return Claim(
        name="tree",
        paper="arXiv 2305.01063",
        statement="a tree that splits where it pays earns more than the mean over the nearest queries",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=gain.n,
    )
