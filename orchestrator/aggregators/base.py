"""What an aggregator is: a sitting of several experts in, one answer out.

    combined = await make_aggregator("vote").combine(table)
    combined.text, combined.who                   # ('42', ('a', 'b'))

Members are the experts of a panel. How they are reached, and what that may cost, is `table.py`'s; a panel as an expert of the
fleet is in `panel.py`; what aggregators there are, in `registry.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.errors import SwitchyardError
from orchestrator.experts.render import Ending
from orchestrator.types import Messages

if TYPE_CHECKING:
    from orchestrator.aggregators.table import Table


@dataclass(frozen=True, slots=True)
class MemberAnswer:
    """What one expert said. error: why there is nothing usable, if so; cause: what was raised, if anything was.

    elapsed_s: seconds it took, waiting included. finish_reason: the expert's own (`length`: cut off).
    """

    expert: str
    text: str
    error: str | None = None
    elapsed_s: float = 0.0
    cause: SwitchyardError | None = None
    finish_reason: str | None = None

    @property
    def usable(self) -> bool:
        return self.error is None and bool(self.text.strip())


@dataclass(frozen=True, slots=True)
class Final:
    """The answer is what `expert` says to `messages`, which is streamed as it is written.

    max_tokens, temperature: None is what the client asked for.
    """

    expert: str
    messages: Messages
    max_tokens: int | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Combined:
    """The panel's answer. who: the experts it rests on. why: in a few words.

    final: who writes the answer, where it is not `text` already; `text` then is what stands if that fails.
    details: numbers behind it, for the record; JSON.
    pieces: makes the answer here, piece by piece, where it is no single expert's; adds what it took to the `Ending` it is given.
    """

    text: str
    who: tuple[str, ...]
    why: str
    final: Final | None = None
    pieces: Callable[[Ending], AsyncGenerator[str, None]] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Aggregator(Protocol):
    """One narrow verb. Stateless: all that belongs to one request is in the table."""

    async def combine(self, table: Table) -> Combined:
        """One answer. Asks the members, in as many rounds as it takes.

        Experts that fail are not raised here, they are answers that are not usable; `NoQuorum` is, by `table.answers`, when too
        few members say anything.
        """
        ...
