"""What a panel may spend on one request: calls and USD, never more.

    budget = Budget(calls=5, usd=0.01)
    with budget.reserve(usd=0.002) as spent:      # raises BudgetSpent, before anything was sent
        spent.usd = 0.0004                        # what it came to; the rest is given back

What is reserved is the most that a call can cost, so that calls under way together can't exceed it either. A panel within a
panel spends from both budgets. Seconds are the table's: a deadline needs no bookkeeping.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass


class BudgetSpent(Exception):
    """Another call would, or could, exceed the budget."""


@dataclass(slots=True)
class Spent:
    """What one call came to. calls: 0 for an expert that declined, which costs nothing."""

    usd: float = 0.0
    calls: int = 1


class Budget:
    """calls, usd: None means no limit. within: the budget of the panel that this one sits in."""

    def __init__(self, *, calls: int | None = None, usd: float | None = None, within: Budget | None = None) -> None:
        self._calls = calls
        self._usd = usd
        self._within = within
        self.num_calls = 0
        self.spent_usd = 0.0

    @property
    def calls_left(self) -> int | None:
        """None means no limit."""
        mine = None if self._calls is None else self._calls - self.num_calls
        outer = None if self._within is None else self._within.calls_left
        return min((left for left in (mine, outer) if left is not None), default=None)

    @property
    def usd_left(self) -> float | None:
        """None means no limit."""
        mine = None if self._usd is None else self._usd - self.spent_usd
        outer = None if self._within is None else self._within.usd_left
        return min((left for left in (mine, outer) if left is not None), default=None)

    def has_room(self, calls: int, usd: float = 0.0) -> bool:
        """Whether that many calls are left, and what they may cost together."""
        return (self.calls_left is None or self.calls_left >= calls) and (self.usd_left is None or self.usd_left >= usd)

    @contextmanager
    def reserve(self, *, usd: float, calls: int = 1) -> Generator[Spent]:
        """Room for `calls` that cost at most `usd` together. Raises `BudgetSpent` when there isn't, and nothing is spent then."""
        calls_left, usd_left = self.calls_left, self.usd_left
        if calls_left is not None and calls > calls_left:
            raise BudgetSpent(f"the budget of {self.num_calls + calls_left} calls is spent")
        if usd_left is not None and usd > usd_left:
            raise BudgetSpent(f"could cost {usd:.6f} USD, and {max(usd_left, 0.0):.6f} USD of the budget are left")
        spent = Spent(calls=calls)
        self._add(calls, usd)
        try:
            yield spent
        finally:
            self._add(spent.calls - calls, spent.usd - usd)

    def _add(self, calls: int, usd: float) -> None:
        self.num_calls += calls
        self.spent_usd += usd
        if self._within is not None:
            self._within._add(calls, usd)
