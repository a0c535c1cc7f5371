"""Experts made up for the question, their answers merged step by step, and the best of all answers taken.

    board: {experts: [small, large], aggregator: multi_expert, judge: large, experts_count: 3}

After "Multi-expert Prompting Improves Reliability, Safety and Usefulness of Large Language Models" (arXiv 2411.00492): a model
names experts for the question, answers as each of them, and merges the answers by the seven steps of the nominal group technique:
what is agreed, what conflicts, how that is resolved, what stands alone, all of it collected, the merged answer, and the choice of
the best among it and the experts' own. There one model does everything; here the judge names, merges and chooses, members take
turns as experts, and the choice is one token. Where experts can't be named, members answer as themselves; where answers can't be
merged, they vote.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from orchestrator.aggregators.base import Combined, MemberAnswer
from orchestrator.aggregators.quorum import is_quorate, refuse_quorum
from orchestrator.aggregators.reading.quoting import Quoted, quote_to_fit
from orchestrator.aggregators.reading.usable import is_of_use
from orchestrator.aggregators.selecting.vote import stand_in
from orchestrator.aggregators.table import Table
from orchestrator.aggregators.talking.writing import step_tokens, within
from orchestrator.config import ExpertBase, PanelSpec
from orchestrator.labelling.quoting import harmless, without_thinking
from orchestrator.prompts import Prompts
from orchestrator.types import Messages

LETTER_TOKENS = 16
IDENTITY_WORDS = 60
"""An identity is cut to that."""
_IDENTITY = re.compile(
    r"^[ \t\d.)*#-]*(?P<title>[A-Za-zÀ-ÿ][^:\n]{1,60}?)\**[ \t]*[:–—-]\**[ \t]+(?P<knows>\S.*)$", re.MULTILINE
)
_STEP = re.compile(
    r"^[ \t\d.)*#-]*(?:step \d\W*)?(AGREED|CONFLICTS?|RESOLVED|ISOLATED|COLLECTED|MERGED)\b[^:\n]{0,30}:[ *]*",
    re.MULTILINE | re.IGNORECASE,
)


class MultiExpert:
    """experts_count: how many are made up."""

    def __init__(self, prompts: Prompts, experts_count: Annotated[int, Field(ge=2, le=12)] = 3) -> None:
        self._prompts = prompts
        self._experts_count = experts_count

    async def combine(self, table: Table) -> Combined:
        if (count := self._affordable(table)) < max(2, table.quorum):
            return await stand_in(table, await table.answers(), "the budget has no room for a meeting")
        identities = await self._identities(table, count)
        answers = await self._answers(table, identities, count)
        if not is_quorate(answers, table.quorum):
            why = "too few" if answers else "none"
            return await stand_in(table, await table.answers(), f"{why} of the experts that were made up answered")
        titles = [identity.partition(":")[0] for identity in identities]
        if len(answers) == 1:
            return Combined(answers[0].text, (answers[0].expert,), "the only answer", details={"experts": titles})
        if (merged := await self._merged(table, answers)) is None:
            combined = await stand_in(table, answers, f"{table.judge} merged nothing")
        else:
            combined = await self._best(table, answers, merged)
        return replace(combined, who=tuple(dict.fromkeys(combined.who)), details={"experts": titles})

    def check(self, members: Sequence[ExpertBase], panel: PanelSpec) -> None:
        """Raises ValueError where fewer members are asked than the quorum demands."""
        refuse_quorum(panel, "no more are asked as experts (experts_count)", most=self._experts_count)

    def _affordable(self, table: Table) -> int:
        """How many experts there can be, besides naming them, merging and choosing."""
        left = table.budget.calls_left
        return self._experts_count if left is None else min(self._experts_count, left - 3)

    async def _identities(self, table: Table, count: int) -> list[str]:
        """At most `count`, as 'Title: what they know'."""
        messages = self._prompts.messages("identities", question=table.question, count=str(count))
        named = await table.ask(table.judge, messages, round="experts", max_tokens=40 * count, temperature=0)
        found = {match["title"].strip(): match["knows"] for match in _IDENTITY.finditer(without_thinking(named.text))}
        return [
            harmless(f"{title}: {' '.join(knows.split()[:IDENTITY_WORDS])}")
            for title, knows in list(found.items())[:count]
        ]

    async def _answers(self, table: Table, identities: Sequence[str], count: int) -> list[MemberAnswer]:
        """What `count` experts say that is of use, or all they say where that is of too few members for the quorum.

        Those without an identity answer as themselves.
        """
        conversations: list[Messages] = [
            within(table.messages, self._prompts.messages("identity", identity=identity, question=table.question))
            for identity in identities
        ]
        conversations += [table.messages] * (count - len(conversations))
        members = table.members
        asked = [(members[place % len(members)], messages) for place, messages in enumerate(conversations)]
        form = table.call.body.get("response_format")
        said = await table.ask_each(asked, round="answers", purpose="answer", response_format=form)
        usable = [answer for answer in said if answer.usable]
        if usable and is_quorate(usable, table.quorum):
            return usable
        return [replace(answer, error=None) for answer in said if answer.text.strip()]

    async def _merged(self, table: Table, answers: Sequence[MemberAnswer]) -> MemberAnswer | None:
        """The judge's own answer, by the steps; None when there is none, or none of use.

        An answer that is to have a form is asked for in that form, which leaves no place for the steps.
        """
        table.say(f"{table.judge} merges {len(answers)} answers")
        room, form = step_tokens(table, table.judge), table.call.body.get("response_format")
        _, messages = self._quoted(table, answers, "merge_in_form" if form else "merge", room)
        said = await table.ask(table.judge, messages, round="merge", max_tokens=room, response_format=form)
        merged = said if form else replace(said, text=read_merged(said.text))
        return merged if is_of_use(merged, table.call.body) else None

    async def _best(self, table: Table, answers: Sequence[MemberAnswer], merged: MemberAnswer) -> Combined:
        """The seventh step. Where the judge doesn't choose, the merged answer stands."""
        everybody = tuple(answer.expert for answer in answers)
        candidates = [*answers, merged]
        quoted, messages = self._quoted(table, candidates, "choose", LETTER_TOKENS)
        chances = await table.choose(table.judge, messages, tuple(quoted.by_label), round="choose")
        best = quoted.by_label[max(chances, key=lambda label: chances[label])] if chances else merged
        if best is not merged:
            return Combined(best.text, (best.expert,), f"{table.judge} finds it better than the merged answer")
        why = f"{table.judge} merged {len(answers)} answers"
        return Combined(merged.text, everybody, why if chances else f"{why} and chose none")

    def _quoted(
        self, table: Table, answers: Sequence[MemberAnswer], prompt: str, max_tokens: int
    ) -> tuple[Quoted, Messages]:
        """What the judge is asked about `answers`, within the client's conversation."""

        def write(quoted: Quoted) -> Messages:
            return within(table.messages, self._prompts.messages(prompt, question=table.question, answers=quoted.text))

        return quote_to_fit(table, table.judge, answers, write, max_tokens=max_tokens)


def read_merged(text: str) -> str:
    """What stands behind the last `MERGED:`; all of a text that names no step; nothing of one that ends before."""
    said = without_thinking(text)
    steps = list(_STEP.finditer(said))
    if not steps:
        return said.strip()
    return next((said[step.end() :].strip() for step in reversed(steps) if step[1].upper() == "MERGED"), "")
