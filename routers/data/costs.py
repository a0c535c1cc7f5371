"""What a query will cost with each expert, learned from the costs of an outcome file: this is how lambda comes to mean US cents.

    costs = CostModel.fit(table)                     # None when the table has no costs in USD
    costs.predict(["What is 17 * 23?"], ["large"])   # array([[0.031]]), US cents

Per expert a cost is taken to be a constant plus a rate per token of the prompt, both at least 0, by least squares; the constant
is mostly the answer. Not here: declared prices (`orchestrator/routing/pricing.py`), which are for experts this one doesn't know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from routers.base import FloatArray
from routers.data.table import RewardTable

CHARACTERS_PER_TOKEN = 4.0
MIN_ROWS = 5


@dataclass(frozen=True, slots=True)
class CostModel:
    """cents: by expert, the constant in US cents and the rate in US cents per prompt token."""

    cents: Mapping[str, tuple[float, float]]

    @classmethod
    def fit(cls, table: RewardTable, *, usd_per_unit: float | None = None) -> Self | None:
        """usd_per_unit: what one of the table's cost units is worth, for costs that aren't in USD. None when nothing is known."""
        rate = 1.0 if table.cost_unit == "usd" else usd_per_unit
        if rate is None:
            return None
        tokens = _tokens(table.queries)
        known = ~np.isnan(table.costs)
        fitted = {
            name: _line(tokens[known[:, i]], 100.0 * rate * table.costs[known[:, i], i])
            for i, name in enumerate(table.experts)
            if known[:, i].any()
        }
        return cls(fitted) if fitted else None

    def predict(self, queries: Sequence[str], experts: Sequence[str]) -> FloatArray:
        """US cents, `(n_queries, n_experts)`; NaN for an expert without known costs."""
        lines = np.array([self.cents.get(name, (np.nan, np.nan)) for name in experts], dtype=np.float32)
        cents: FloatArray = lines[:, 0] + _tokens(queries)[:, None].astype(np.float32) * lines[:, 1]
        return cents


def _tokens(queries: Sequence[str]) -> FloatArray:
    return np.array([len(query) / CHARACTERS_PER_TOKEN for query in queries], dtype=np.float32)


def _line(tokens: FloatArray, cents: FloatArray) -> tuple[float, float]:
    """Constant and rate, neither below 0; with too few rows or one length of prompt, the mean."""
    mean = float(cents.mean())
    if len(cents) < MIN_ROWS or np.ptp(tokens) == 0.0:
        return mean, 0.0
    rate = float(np.cov(tokens, cents, ddof=0)[0, 1] / tokens.var())
    constant = mean - rate * float(tokens.mean())
    if rate < 0.0:
        return mean, 0.0
    return (constant, rate) if constant >= 0.0 else (0.0, float((tokens @ cents) / (tokens @ tokens)))
