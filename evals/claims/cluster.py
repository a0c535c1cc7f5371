"""Avengers' case for routing: sending each query to the best expert of its cluster beats the best single expert.

claim(Path("data/outcomes")).difference       # reward of clusters, less that of the expert with the highest mean
"""

from __future__ import annotations

from pathlib import Path

from evals.claims.base import Claim
from evals.claims.held_out import compare
from routers.families.cluster import ClusterRouter


def claim(data: Path) -> Claim:
    """One cluster for all queries has the overall means, and so the best single expert of the training queries."""
    gain = compare(
        data, lambda encoder: ClusterRouter(encoder=encoder), lambda encoder: ClusterRouter(encoder=encoder, clusters=1)
    )
    return Claim(
        name="cluster",
        paper="arXiv 2505.19797, 2508.12631",
        statement="the best expert of a query's clusters earns more than the best single expert",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=gain.n,
    )
