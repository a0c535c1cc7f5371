"""How an expert that is made of others reaches them: what a panel asks of whoever carries its questions.

    heard = await colleagues.ask("small", {"messages": [...]}, purpose="answer", budget=budget)
    heard.text, heard.usd

`orchestrator/routing/colleagues.py` does it for a request, through the dispatcher. Not here: who is asked what (`table.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator.aggregators.budget import Budget
from orchestrator.config import ExpertBase, PanelExpert
from orchestrator.types import Answer, Endpoint, Purpose, Statement, Usage


@dataclass(frozen=True, slots=True)
class Heard:
    """What an expert said. usd: what it cost. alternatives: of the first token, by log-probability, where they were asked for."""

    text: str
    usd: float = 0.0
    finish_reason: str | None = None
    alternatives: Mapping[str, float] = field(default_factory=dict)


class Colleagues(Protocol):
    """How an expert that is made of others reaches them, on behalf of the query that it answers."""

    budget: Budget | None
    """Of the panel around the one that asks, or of the request; None without limits."""

    @property
    def id(self) -> str:
        """The request's."""
        ...

    @property
    def usage(self) -> Usage:
        """What everybody used so far."""
        ...

    def spec(self, expert: str) -> ExpertBase:
        """What the fleet has under this name."""
        ...

    def seated(self, panel: PanelExpert) -> tuple[str, ...]:
        """The members of the panel that asks which can serve the request; why others can't is put down."""
        ...

    def infeasible_because(self, expert: str, body: Mapping[str, Any]) -> str | None:
        """Why `expert` can't be asked `body`, a chat's, on behalf of this query."""
        ...

    def most_usd(self, expert: str, body: Mapping[str, Any]) -> float:
        """The most that asking can cost."""
        ...

    def by_wait(self, experts: Sequence[str]) -> tuple[str, ...]:
        """Those first that would be served soonest now: who is in memory comes before who isn't."""
        ...

    async def ask(self, expert: str, body: Mapping[str, Any], *, purpose: Purpose, budget: Budget) -> Heard:
        """A whole answer to `body`, tried once. Raises `SwitchyardError`. budget: of a panel that is asked as a member."""
        ...

    async def open(self, expert: str, body: Mapping[str, Any], *, purpose: Purpose, budget: Budget) -> Answer:
        """The answer as it comes, begun. Raises `SwitchyardError`; what it came to is recorded when it ends or is closed."""
        ...

    async def scores(self, router: str, experts: Sequence[str], text: str | None = None) -> Mapping[str, float]:
        """What a router of the fleet expects of each expert on `text`, by default this query. Raises `SwitchyardError`."""
        ...

    def seat(self, expert: str, *, purpose: Purpose) -> AbstractAsyncContextManager[Endpoint | None]:
        """A lease without a question, for who speaks with the expert's server itself. Raises `SwitchyardError`."""
        ...

    def share(self, expert: str, *, purpose: Purpose) -> AbstractContextManager[None]:
        """A part in somebody else's lease of the same weights."""
        ...

    def charge(self, expert: str, usage: Usage) -> None:
        """Put down what somebody used who is seated, or shares a seat; at no more than was reserved."""
        ...

    def note(self, statement: Statement) -> None:
        """Put a statement down in the record."""
        ...

    def say(self, progress: str) -> None:
        """Tell a client that waits."""
        ...

    def conclude(self, reason: str, details: Mapping[str, Any]) -> None:
        """Put down how the panel's answer came about."""
        ...
