"""A claim of a paper, tried on data that is here: what a router's or an aggregator's row in the documentation stands on.

    def claim(data: Path) -> Claim: ...        # one function in each module of this package, named in `registry.py`

A claim reproduces a direction, not a number: other models, other queries. One that does not hold is reported like one that does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Claim:
    """difference: what the claim says is above 0, in `unit`, with its 95% interval, over `n` queries (or pairs, runs)."""

    name: str
    paper: str
    statement: str
    difference: float
    low: float
    high: float
    n: int
    unit: str = "reward"

    @property
    def holds(self) -> bool:
        return self.low > 0.0


ClaimFunction = Callable[[Path], Claim]
"""data: the folder with outcome files."""
