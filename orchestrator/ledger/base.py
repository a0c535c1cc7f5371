"""What the ledger remembers: decisions, feedback, and which expert each embedding collection belongs to.

ledger.record(decision)                        # never waits: written in batches off the request path
await ledger.feedback(Feedback(decision_id=decision.id, score=1.0))   # durable when it returns
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from orchestrator.types import Decision, Feedback, Kind
from routers.base import Outcome


@dataclass(frozen=True, slots=True)
class Rewarded:
    """A decision that got a score. number: rises from one first score to the next. artifact: of the router that scored it."""

    number: int
    artifact: str | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Routed:
    """A decision that a policy made by scores, and that its expert answered. reward: the last score, None where nobody gave one.

    propensities: of each expert that could be bound, with which it was; 0 for those that the policy never would have.
    """

    query: str
    expert: str
    reward: float | None
    cost_usd: float
    propensities: Mapping[str, float]


class Ledger(Protocol):
    async def open(self) -> None:
        """Open the database, and create what is missing. Raises `ConfigError` when that can't be done."""
        ...

    def record(self, decision: Decision) -> None:
        """Queue a finished decision; returns at once."""
        ...

    async def decision(self, decision_id: str) -> Decision | None:
        """A decision by its id, those not yet written included."""
        ...

    async def feedback(self, feedback: Feedback) -> None:
        """Durable before it returns. Raises `NotFound` for an unknown decision."""
        ...

    async def collection(self, key_id: str, kind: Kind, name: str) -> str | None:
        """The expert that a key's collection belongs to, if it exists. Each kind of request has collections of its own."""
        ...

    async def create_collection(self, key_id: str, kind: Kind, name: str, expert: str) -> str:
        """Pin a collection to an expert; returns the one that was there first when two requests race."""
        ...

    def outcomes(self) -> AsyncIterator[Outcome]:
        """What was rewarded, to be written to an outcome file: decisions whose text was kept and that one expert answered."""
        ...

    def rewarded(self, after: int = 0) -> AsyncIterator[Rewarded]:
        """The same with what an online router needs, from beyond the number `after`: each decision once."""
        ...

    def routed(self, policy: str, *, since: float = 0.0) -> AsyncIterator[Routed]:
        """What the policy decided from the Unix time `since` on, scored or not, in order of time: a log of its choices."""
        ...

    def decisions(self, *, since: float = 0.0) -> AsyncIterator[Decision]:
        """Every decision from the Unix time `since` on, in order of time."""
        ...

    async def close(self) -> None:
        """Write what is queued, then close."""
        ...
