"""Symbolic-MoE's case for recruiting by skill, query by query, rather than taking the best expert for everything.

claim(Path("data/outcomes")).difference       # reward by the skills that each query needs, less that of the best single expert

Skills are the groups that outcomes have, and a query's are the nearest of them; its own group is not told.
"""

from __future__ import annotations

from pathlib import Path

from evals.claims.base import Claim
from evals.claims.held_out import compare
from routers.families.cluster import ClusterRouter
from routers.families.skills import SkillsRouter


def claim(data: Path) -> Claim:
    """One cluster for all queries has the overall means, and so the best single expert of the training queries."""
    gain = compare(
        data, lambda encoder: SkillsRouter(encoder=encoder), lambda encoder: ClusterRouter(encoder=encoder, clusters=1)
    )
    return Claim(
        name="skills",
        paper="arXiv 2503.05641",
        statement="the expert that is best at a query's skills earns more than the best single expert",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=gain.n,
    )
