"""What labelling may spend: no call is made that might cost more than is left, whatever those under way turn out to cost.

    budget = Budget(journal, max_usd=5.0)
    most = await budget.reserve(0.002)            # raises BudgetSpent
    await budget.release(most)                    # once the journal knows what it did cost

Not here: what a panel spends on one query (`orchestrator/aggregators/budget.py`).
"""

from __future__ import annotations

import asyncio

from orchestrator.config import PanelExpert
from orchestrator.errors import LabelError
from orchestrator.labelling.journal import Journal


class BudgetSpent(LabelError):
    """The next call might cost more than may still be spent."""

    def __init__(self) -> None:
        super().__init__("the next call might cost more than --max-cost-usd leaves")


class Budget:
    """Lets a call through when it can't exceed the limit, whatever the calls under way turn out to cost."""

    def __init__(self, journal: Journal, max_usd: float | None) -> None:
        self._journal = journal
        self._max_usd = max_usd
        self._underway: list[float] = []
        self._changed = asyncio.Condition()

    @property
    def is_limited(self) -> bool:
        return self._max_usd is not None

    async def reserve(self, most_usd: float) -> float:
        """Wait until it is known whether `most_usd` may be spent. Raises `BudgetSpent` when it may not."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._fits(most_usd) or not self._underway)
            if not self._fits(most_usd):
                raise BudgetSpent
            self._underway.append(most_usd)
        return most_usd

    async def release(self, most_usd: float) -> None:
        async with self._changed:
            self._underway.remove(most_usd)
            self._changed.notify_all()

    def _fits(self, most_usd: float) -> bool:
        return self._max_usd is None or self._journal.cost_usd + sum(self._underway) + most_usd <= self._max_usd


def most_usd_of_panel(spec: PanelExpert) -> float | None:
    """The most that a panel may spend on one query; None where nothing says."""
    if spec.price.input or spec.price.output:
        return spec.panel.budget.usd
    return 0.0
