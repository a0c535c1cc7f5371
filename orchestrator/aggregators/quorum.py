"""What a quorum means to an aggregator that does not leave it to `Table.answers`.

    if not is_quorate(answers, table.quorum): ...               # too few members are among those who said something
    refuse_quorum(panel, "one answer stands")                   # at load, where only one member's words are the answer

A quorum counts members: who answers three times is one of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.aggregators.base import MemberAnswer
from orchestrator.config import PanelSpec


def is_quorate(answers: Sequence[MemberAnswer], quorum: int) -> bool:
    """Whether as many members as that are behind `answers`."""
    return len({answer.expert for answer in answers}) >= quorum


def refuse_quorum(panel: PanelSpec, because: str, most: int = 1) -> None:
    """Raises ValueError for a quorum of more members than `most`, which is all that can be behind an answer."""
    if panel.quorum > most:
        raise ValueError(f"quorum: expected at most {most}, as {because}, got {panel.quorum}")
