"""What debates and discussions share: how a member is asked to speak after what it has said, and what it is shown is cut to fit.

    messages = fitting(table, "small", lambda limit: in_turn(table, said="42.", then=prompt(limit)), most=300, reply=300)

Lengths are counted in tokens, by an estimate that holds for any language, because some have no spaces to count words by.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.aggregators.reading.quoting import LEAST_TOKENS
from orchestrator.aggregators.table import Table
from orchestrator.types import Messages

TOKENS_PER_WORD = 2
"""By `orchestrator.tokens.estimate`, which is on the high side: an English word with its space, its marks and a margin."""


def in_turn(table: Table, *, said: str, then: str) -> Messages:
    """The client's conversation, what a member has said to it, and what it is asked `then`. said: made harmless already."""
    return [*table.messages, {"role": "assistant", "content": said}, {"role": "user", "content": then}]


def fitting(table: Table, expert: str, write: Callable[[int], Messages], *, most: int, reply: int) -> Messages:
    """`write(limit)` for the largest limit that fits `expert`, if any does. limit: tokens of each text that is shown, up to `most`.

    reply: tokens of what it shall answer.
    """
    limit = most
    while not table.fits(expert, messages := write(limit), max_tokens=reply) and limit > LEAST_TOKENS:
        limit = max(LEAST_TOKENS, limit * 3 // 4)
    return messages
