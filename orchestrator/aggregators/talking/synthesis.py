"""The members' answers, and one expert that writes the final answer from them.

    aggregator: synthesis
    judge: large                        # who writes; by default whoever was measured to do it best
    layers: 2                           # the members answer once more, each with all the answers before it

The judge is the aggregator of Symbolic-MoE (arXiv 2503.05641), layers are those of Mixture-of-Agents (arXiv 2406.04692), where
every layer and the final writer get the same prompt. In both, answers are only listed; here the prompt says as well which of them
conclude alike and what they weigh (`vote.py`), and none is left out for standing alone. An answer that is alone there stands as
it is. A later layer is only asked if the budget leaves a call for the judge; who says nothing of use in it is kept with what it
said before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from orchestrator.aggregators.base import Combined, MemberAnswer
from orchestrator.aggregators.reading.quoting import Quoted, quote_to_fit
from orchestrator.aggregators.reading.usable import is_of_use
from orchestrator.aggregators.selecting.vote import camps, elect, stand_in
from orchestrator.aggregators.table import Table
from orchestrator.aggregators.talking.writing import final_by_judge, shares_of_vote, within
from orchestrator.prompts import Prompts
from orchestrator.types import Messages


class Synthesis:
    """layers: rounds of answers, the first included."""

    def __init__(self, *, prompts: Prompts, layers: Annotated[int, Field(ge=1, le=8)] = 1) -> None:
        self._prompts = prompts
        self._layers = layers

    async def combine(self, table: Table) -> Combined:
        answers = await table.answers()
        expected = await table.scores()
        for layer in range(2, self._layers + 1):
            if len(answers) == 1 or not table.budget.has_room(len(answers) + 1):
                break
            answers = await self._again(table, answers, expected, layer)
        elected = elect(answers, expected)
        if len(answers) == 1:
            return Combined(elected.text, elected.who, "the only answer")
        table.say(f"{table.judge} writes the answer from {len(answers)}")
        final = final_by_judge(table, answers, lambda quoted: self._prompt(table, quoted, expected))
        if final is None:
            return await stand_in(table, answers, f"{table.judge} can't be asked to write it")
        who = tuple(answer.expert for answer in answers)
        return Combined(
            elected.text, who, f"{len(answers)} answers were given to {table.judge} to write from", final=final
        )

    async def _again(
        self, table: Table, answers: Sequence[MemberAnswer], expected: Mapping[str, float], layer: int
    ) -> list[MemberAnswer]:
        """What each of those who answered says, having read what all of them said."""
        questions: dict[str, Messages] = {}
        for answer in answers:
            _, questions[answer.expert] = quote_to_fit(
                table,
                answer.expert,
                answers,
                lambda quoted: within(table.messages, self._prompt(table, quoted, expected)),
            )
        body = table.call.body
        found = await table.gather(questions, round=f"layer {layer}", response_format=body.get("response_format"))
        return [new if is_of_use(new, body) else old for new, old in zip(found, answers, strict=True)]

    def _prompt(self, table: Table, quoted: Quoted, expected: Mapping[str, float]) -> Messages:
        return writing_prompt(self._prompts, table.question, quoted, expected)


def writing_prompt(prompts: Prompts, question: str, quoted: Quoted, expected: Mapping[str, float]) -> Messages:
    """What the judge is asked. prompts: of `synthesis`. expected: reward by expert, as far as it is known."""
    found = camps(list(quoted.by_label.values()), expected)
    return prompts.messages("write", question=question, answers=quoted.text, shares=shares_of_vote(quoted, found))
