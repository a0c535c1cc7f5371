"""Feedback on its way to the routers that learn online.

    learner = Learner(ledger, fleet=lambda: service.fleet)
    await learner.catch_up(fleet)           # before a fleet serves
    learner.wake()                          # a decision got a score; `run` does the rest

A router learns from the scores of the decisions that it made itself, as the artifact's fingerprint in each of them says. The ledger
is the only way: what a running gateway learns and what one that starts, reloads or rolls back has learned is the same, nothing is
stored twice, and a newly trained artifact begins afresh. Of a decision that is scored again the later score counts from the next
start on. Needs `ledger.keep_text`. Not here: learning itself (`routers/families/bandit.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from orchestrator.fleet.snapshot import Fleet
from orchestrator.ledger.base import Ledger
from orchestrator.routing.scoring import Scorer
from routers.base import Outcome

BATCH = 256
"""Outcomes that are given to a router at a time: scores wait so long."""

LOOK_S = 2.0

logger = logging.getLogger(__name__)


class Learner:
    """fleet: the current snapshot. look_s: how often to look for scores that other gateways were told."""

    def __init__(self, ledger: Ledger, fleet: Callable[[], Fleet], *, look_s: float = LOOK_S) -> None:
        self._ledger = ledger
        self._look_s = look_s
        self._fleet = fleet
        self._scored = asyncio.Event()

    def wake(self) -> None:
        """There is something to learn."""
        self._scored.set()

    async def run(self) -> None:
        """Learn whenever woken, and from time to time what other gateways were told, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_s):
                    await self._scored.wait()
            self._scored.clear()
            await self.catch_up(self._fleet())

    async def catch_up(self, fleet: Fleet) -> None:
        """Have every online router of the fleet learn what the ledger has for it. What goes wrong is told in the log."""
        for scorer in {scorer for scorer in fleet.scorers.values() if scorer.learns}:
            try:
                async for outcomes in self._lessons(scorer):
                    await scorer.learn(outcomes)
            except Exception:  # whatever it is, the fleet serves with what its router knows
                logger.exception("the router of artifact %s could not learn from feedback", scorer.artifact)

    async def _lessons(self, scorer: Scorer) -> AsyncIterator[list[Outcome]]:
        """What the scorer has not seen, in batches; what is handed out is not handed out again, even if it can't be learned."""
        batch: list[Outcome] = []
        async for rewarded in self._ledger.rewarded(scorer.learned_to):
            scorer.learned_to = rewarded.number
            if rewarded.artifact == scorer.artifact:
                batch.append(rewarded.outcome)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch
