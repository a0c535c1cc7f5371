"""All the rewards: every query's answers graded, several queries at once.

    graded = await grade(grader, items, collected, step)
    graded.rewards[0]                             # {"small": 1.0, "large": 0.0}

A query that can't be graded, because the judge fails or the budget is spent, is told of; a judge that fails
`GIVE_UP_AFTER` times in a row isn't asked further. Not here: how one query is graded (`base.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import LabelError, SwitchyardError
from orchestrator.labelling.base import Grader
from orchestrator.labelling.budget import BudgetSpent
from orchestrator.labelling.collecting import GIVE_UP_AFTER, Collected, Step, each
from orchestrator.labelling.queries import Item

AT_ONCE = 8


@dataclass(slots=True)
class Graded:
    """rewards: by expert, one mapping a query, None where it wasn't graded. num_failed: queries whose judge failed.

    reason: why the first of them failed. budget_spent: whether the budget ended it.
    """

    rewards: list[Mapping[str, float] | None]
    num_failed: int = 0
    reason: str = ""
    budget_spent: bool = False

    @property
    def is_whole(self) -> bool:
        return not self.num_failed and not self.budget_spent


async def grade(grader: Grader, items: Sequence[Item], collected: Collected, step: Step) -> Graded:
    """Raises `LabelError` when what a judge says can't be kept."""
    graded = Graded([None] * len(items))
    in_a_row = 0

    async def grade_one(index: int) -> None:
        nonlocal in_a_row
        answers = collected.answers(index)
        try:
            if in_a_row >= GIVE_UP_AFTER:
                graded.num_failed += 1
            elif answers and not graded.budget_spent:
                graded.rewards[index] = await grader.grade(items[index], answers)
                in_a_row = 0
        except BudgetSpent:
            graded.budget_spent = True
        except LabelError:
            raise
        except SwitchyardError as error:
            in_a_row += 1
            graded.num_failed += 1
            graded.reason = graded.reason or error.message
        step()

    await each(range(len(items)), grade_one, at_once=AT_ONCE)
    return graded
