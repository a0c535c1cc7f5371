"""Shadow routers: what another router would have said of the same query, for the record.

    shadows = Shadows(ledger.record)
    shadows.start(query, fleet, route, decision)        # once there is a plan; nobody waits for it
    shadows.record(decision)                            # now, or when the scores are there

A policy names its shadow in `experts.yaml`. A shadow that fails is told in the log, and its decision is recorded without it.
Not here: what may be concluded from the scores.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from orchestrator.fleet.snapshot import Fleet, Route
from orchestrator.types import Decision, Query, ShadowScores

logger = logging.getLogger(__name__)


class Shadows:
    """record: what is done with a decision that is complete."""

    def __init__(self, record: Callable[[Decision], None]) -> None:
        self._record = record
        self._scoring: dict[str, asyncio.Task[None]] = {}

    def start(self, query: Query, fleet: Fleet, route: Route, decision: Decision) -> None:
        """Begin to score, if the policy has a shadow and chose by scores. `record` must follow."""
        shadow = route.policy.shadow if route.policy is not None else None
        if shadow is not None and decision.scores and decision.id not in self._scoring:
            self._scoring[decision.id] = asyncio.create_task(_score(shadow, query, fleet, decision))

    def record(self, decision: Decision) -> None:
        scoring = self._scoring.pop(decision.id, None)
        if scoring is None:
            self._record(decision)
        else:
            scoring.add_done_callback(lambda _: self._record(decision))


async def _score(shadow: str, query: Query, fleet: Fleet, decision: Decision) -> None:
    scorer = fleet.scorers[shadow, query.kind]
    try:
        scores = await scorer.scores(query.text, query.remaining_s)
    except Exception:  # a shadow must never be felt, whatever is wrong with it
        logger.exception("the shadow router %s has no scores for decision %s", shadow, decision.id)
        return
    decision.shadow = ShadowScores(shadow, scorer.artifact, {name: scores.get(name, 0.0) for name in decision.scores})
