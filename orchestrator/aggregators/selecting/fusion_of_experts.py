"""Learned fusion: who is asked next, whether anybody is, and which answer is believed, as `switchyard fuse train` has learned it.

    aggregator: fusion_of_experts
    artifact: fusion                    # the folder that `switchyard fuse train` wrote
    mean_calls: 3                       # on average over queries like those it learned from; without it all members are asked
    mean_cost: 0.002                    # instead of mean_calls: US dollars a query, on average
    max_calls: 5                        # never more on one query
    retry_unusable: true                # instead of both means: one call, and another only while no answer is usable

Fusing Models with Complementary Expertise, and its frugal version (arXiv 2310.01542). Members that the artifact doesn't know are
not asked; where it knows none of them, they vote. What was learned is `routers/fusing/`'s; here is whom to ask, and when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from orchestrator.aggregators.base import Combined, MemberAnswer
from orchestrator.aggregators.quorum import is_quorate, refuse_quorum
from orchestrator.aggregators.selecting.vote import elect
from orchestrator.aggregators.table import Table
from orchestrator.config import ExpertBase, PanelSpec
from routers.base import Encoder
from routers.data.answers import final_answers
from routers.fusing.artifact import read_fusion
from routers.fusing.asking import Asking
from routers.fusing.budget import EVERYBODY, Budget


class FusionOfExperts:
    def __init__(
        self,
        *,
        artifact: Path,
        encoders: Sequence[Encoder],
        mean_calls: float | None = None,
        mean_cost: float | None = None,
        max_calls: int | None = None,
        retry_unusable: bool = False,
    ) -> None:
        self._budget = Budget(max_calls, mean_calls, retry_unusable, mean_cost)
        self._fusion = read_fusion(artifact, encoders=encoders)
        if mean_cost is not None and (unit := self._fusion.prices_.unit) != "usd":
            raise ValueError(f"mean_cost: is in US dollars, and {artifact} has learned of costs in '{unit}'")
        self._fusion.rule(self._budget)  # says what is wrong with it before the first query

    async def combine(self, table: Table) -> Combined:
        members = [name for name in table.members if name in self._fusion.experts_]
        if not members:
            answers = await table.answers()
            voted = elect(answers, await table.scores())
            return Combined(voted.text, voted.who, f"the fusion knows none of them; {voted.why}")
        asking = await asyncio.to_thread(self._fusion.begin, table.question, self._budget, experts=members)
        all_at_once = not self._is_frugal and table.budget.has_room(len(members)) and table.budget.usd_left is None
        answers = await (table.hear(members) if all_at_once else self._ask_on(table, asking))
        if not is_quorate([answer for answer in answers if answer.text.strip()], table.quorum):
            raise table.no_quorum(sum(answer.usable for answer in answers))
        known = {answer.expert: answer.text if answer.usable else None for answer in answers}
        belief = await asyncio.to_thread(asking.best, known)
        if belief.answer is None or belief.expert is None:
            return await _what_there_is(table, answers)
        concluded = dict(zip(known, final_answers(list(known.values())), strict=True))
        behind = tuple(name for name in known if concluded[name] == concluded[belief.expert])
        why = f"{belief.expert} is believed with {belief.probability:.2f} after {len(known)} of {len(members)} calls"
        return Combined(belief.answer, behind, why, details={"weights": dict(belief.weights)})

    def check(self, members: Sequence[ExpertBase], panel: PanelSpec) -> None:
        """Raises ValueError where fewer members are asked than the quorum demands."""
        if self._is_frugal:
            refuse_quorum(panel, "a mean or a limit of calls may leave it at one")
        num_known = len({member.name for member in members} & set(self._fusion.experts_))
        if num_known:
            refuse_quorum(panel, "the artifact knows no more of its members", most=num_known)

    @property
    def _is_frugal(self) -> bool:
        return self._budget != EVERYBODY

    async def _ask_on(self, table: Table, asking: Asking) -> list[MemberAnswer]:
        """One member after another, until a further call is not worth it, or more than there is left."""
        answers: list[MemberAnswer] = []
        known: dict[str, str | None] = {}
        while (expert := await asyncio.to_thread(asking.next, known)) is not None and table.affords(expert):
            table.say(f"asking {expert}, the {len(known) + 1}. of at most {len(table.members)}")
            answers += await table.hear([expert])
            known[expert] = answers[-1].text if answers[-1].usable else None
        return answers


async def _what_there_is(table: Table, answers: Sequence[MemberAnswer]) -> Combined:
    """Where no answer is usable: the first that says anything. Raises `NoQuorum` when none does."""
    for answer in answers:
        if answer.text.strip():
            return Combined(answer.text, (answer.expert,), f"no answer is usable, and {answer.expert}'s is the first")
    raise table.no_quorum()
