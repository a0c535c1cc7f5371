"""C3PO's test-time re-mixing: steps down the loss of successful neighbours improve the pathway that the base router gives.

claim(Path("data/outcomes")).difference       # reward with the steps, less reward of the base router alone
"""

from __future__ import annotations

from pathlib import Path

from evals.claims.base import Claim
from evals.claims.held_out import compare
from routers.families.neighbours import NeighboursRouter


def claim(data: Path) -> Claim:
    """The surrogate that the paper finds best, `gradient`; nothing but `steps` differs."""
    gain = compare(
        data,
        lambda encoder: NeighboursRouter(encoder=encoder),
        lambda encoder: NeighboursRouter(encoder=encoder, steps=0),
    )
    return Claim(
        name="neighbours",
        paper="arXiv 2504.07964",
        statement="re-mixing by gradient steps on the loss of successful neighbours earns more than the base router's pathway",
        difference=gain.mean,
        low=gain.low,
        high=gain.high,
        n=gain.n,
    )
