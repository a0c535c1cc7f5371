"""What asking may take, and the rule that keeps to it.

    Budget(mean_calls=3, max_calls=5)
    Budget(mean_cost=0.002)                     # on average, in the unit of the costs that were learned from
    rule = fusion.rule(Budget(mean_cost=0.002))
    rule.wants_more(gain, expert)               # (n,): whether what is expected of the next call is worth what it costs

Not here: how a rule is learned (`stopping.py`, `pricing.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from routers.base import FloatArray
from routers.fusing.skills import Ranking
from routers.fusing.table import BoolArray, Rows


@dataclass(frozen=True, slots=True)
class Budget:
    """max_calls: never more on a query. mean_calls, mean_cost: on average over queries like those learned from; None for all.

    retry_unusable: one call, and another only while no answer is usable. Raises ValueError for numbers that are too small, and
    for more than one of mean_calls, mean_cost and retry_unusable.
    """

    max_calls: int | None = None
    mean_calls: float | None = None
    retry_unusable: bool = False
    mean_cost: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_calls", "mean_calls"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise ValueError(f"{name}: expected 1 or more, got {value}")
        if self.mean_cost is not None and not self.mean_cost > 0:
            raise ValueError(f"mean_cost: expected more than 0, got {self.mean_cost}")
        if self.mean_calls is not None and self.mean_cost is not None:
            raise ValueError("mean_calls and mean_cost are two ways to say what asking may take: give one of them")
        if self.retry_unusable and self.has_mean:
            raise ValueError("retry_unusable asks until an answer is usable: it takes max_calls, and no mean")

    @property
    def has_mean(self) -> bool:
        """Whether it is one that holds on average."""
        return self.mean_calls is not None or self.mean_cost is not None


EVERYBODY = Budget()


@dataclass(frozen=True, slots=True)
class Rule:
    """Whom to ask first, and when to stop. handicap: `(m,)`, log-odds that count against an expert in the order.

    price: `(m,)`, what a call to an expert counts for. threshold: the least gain for this price. retry: stop at a usable answer.
    """

    ranking: Ranking
    handicap: FloatArray
    price: FloatArray
    threshold: float = -np.inf
    retry: bool = False

    @property
    def is_exhaustive(self) -> bool:
        """Whether it asks everybody."""
        return not self.retry and self.threshold == -np.inf

    def wants_more(self, gain: FloatArray, expert: Rows) -> BoolArray:
        """`(n,)`. gain: `(n,)`, expected of one more call. expert: `(n,)`, who would be asked."""
        return np.asarray(gain / self.price[expert] >= self.threshold)
