"""Rewards of real experts, bought pair by pair.

    payer = Payer(service, asker, grader, Settings(), items, ["small", "large"])
    await payer.pay(step.pairs)
    payer.rewards                                  # (n_items, 2), NaN where not paid for

Asking and grading are those of `switchyard label`. Not here: which pairs (`registry.py`), and how many may be afforded (`live.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evals.active.base import Pairs
from orchestrator.labelling.asking import Asker, Said
from orchestrator.labelling.base import Grader
from orchestrator.labelling.collecting import Settings, collect
from orchestrator.labelling.grading import grade
from orchestrator.labelling.queries import Item
from orchestrator.service import Service
from routers.base import FloatArray


class Payer:
    """Buys rewards. rewards: `(n_items, n_experts)`, NaN where not paid for, or failed. said: by expert.

    failed: by expert, why a call failed last. stopped: why no more can be bought.
    """

    def __init__(
        self,
        service: Service,
        asker: Asker,
        grader: Grader,
        settings: Settings,
        items: Sequence[Item],
        experts: Sequence[str],
    ) -> None:
        self.asker = asker
        self.items = items
        self.experts = experts
        self.rewards: FloatArray = np.full((len(items), len(experts)), np.nan, dtype=np.float32)
        self.said: dict[str, list[Said]] = {expert: [] for expert in experts}
        self.failed: dict[str, str] = {}
        self.stopped = ""
        self._service = service
        self._grader = grader
        self._settings = settings

    @property
    def num_calls(self) -> int:
        return sum(map(len, self.said.values()))

    async def pay(self, pairs: Pairs) -> None:
        """Experts that are asked the same queries are asked together, which loads each of them once."""
        asked: dict[tuple[int, ...], list[int]] = {}
        for expert in np.unique(pairs[:, 0]):
            asked.setdefault(tuple(map(int, pairs[pairs[:, 0] == expert, 1])), []).append(int(expert))
        for queries, experts in asked.items():
            if not self.stopped:
                await self._pay(queries, experts)

    async def _pay(self, queries: Sequence[int], columns: Sequence[int]) -> None:
        items = [self.items[query] for query in queries]
        experts = [self.experts[column] for column in columns]
        collected = await collect(self.asker, self._service.fleet.specs, items, experts, self._settings, _unseen)
        graded = await grade(self._grader, items, collected, _unseen)
        for (_, expert), said in collected.said.items():
            self.said[expert].append(said)
        for query, of_query in zip(queries, graded.rewards, strict=True):
            for column, expert in zip(columns, experts, strict=True):
                self.rewards[query, column] = (of_query or {}).get(expert, np.nan)
        for expert, reason in collected.reasons.items():
            self.failed[expert] = reason
        silent = [expert for expert in experts if not any(name == expert for _, name in collected.said)]
        if collected.budget_spent or graded.budget_spent:
            self.stopped = "the next call might exceed --max-cost-usd"
        elif silent:
            self.stopped = f"{silent[0]} can't be asked"
        elif graded.num_failed == len(items):
            self.stopped = f"nothing can be graded: {graded.reason}"


def _unseen() -> None:
    """A `Step` that isn't shown: batches are."""
