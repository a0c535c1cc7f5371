"""What an aggregator is: several answers to one question in, one answer out.

    combined = await make_aggregator("vote").combine("6 x 7?", [MemberAnswer("a", "42"), MemberAnswer("b", "It is 42.")])
    combined.text, combined.who                   # ('42', ('a', 'b'))

Members are the experts of a panel. Asking them, and waiting for them, is in `orchestrator/aggregators/panel.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.errors import SwitchyardError


@dataclass(frozen=True, slots=True)
class MemberAnswer:
    """What one expert said. error: why there is nothing usable, if so; cause: what was raised, if anything was.

    elapsed_s: seconds since the panel was asked.
    """

    expert: str
    text: str
    error: str | None = None
    elapsed_s: float = 0.0
    cause: SwitchyardError | None = None

    @property
    def usable(self) -> bool:
        return self.error is None and bool(self.text.strip())


@dataclass(frozen=True, slots=True)
class Combined:
    """The panel's answer. who: the experts it rests on. why: in a few words. missing: members that said nothing usable, and why."""

    text: str
    who: tuple[str, ...]
    why: str
    missing: Mapping[str, str] = field(default_factory=dict)


class Aggregator(Protocol):
    """One narrow verb. Async, because some ask an expert themselves."""

    eager: bool
    """Class attribute: whether a quorum is enough, so that nobody waits for the other members."""

    async def combine(self, question: str, completions: Sequence[MemberAnswer]) -> Combined:
        """One answer from at least one. completions: usable ones only, in the order of the panel's members."""
        ...
