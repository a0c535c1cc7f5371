"""Members one after another, each improving on what the one before it left, or keeping it.

    relay: {experts: [small, coder, large], aggregator: chain, router: support, agree: 2}

Who comes next is routed anew each time: of those that have not spoken, whom the panel's router expects most of on the question with
the answer as it is now; without a router, the next in the panel's order. It ends early when `agree` answers in a row conclude
alike. The last member's answer is streamed as it is written, and the one before it stands where that fails.

After Chain-of-Experts (arXiv 2506.18945), where the layers of one model process a token in sequence with a router before each; here
the experts are whole models, each comes at most once, and what is handed on is text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from orchestrator.aggregators.base import Combined, Final, MemberAnswer
from orchestrator.aggregators.quorum import refuse_quorum
from orchestrator.aggregators.reading.quoting import quote_to_fit
from orchestrator.aggregators.table import Table
from orchestrator.aggregators.talking.writing import within
from orchestrator.config import ExpertBase, PanelSpec
from orchestrator.prompts import Prompts
from orchestrator.types import Messages
from routers.data.answers import final_answer


class Chain:
    """steps: members that speak at most, by default all. agree: answers in a row that conclude alike and end it."""

    def __init__(
        self, prompts: Prompts, steps: Annotated[int, Field(ge=1)] | None = None, agree: Annotated[int, Field(ge=2)] = 2
    ) -> None:
        self._prompts = prompts
        self._steps = steps
        self._agree = agree

    async def combine(self, table: Table) -> Combined:
        left = list(table.members)
        said: list[MemberAnswer] = []
        for steps_left in range(self._num_steps(table), 0, -1):
            expert = await _next(table, left, said)
            left.remove(expert)
            if said and steps_left == 1:
                return _ended(said, Final(expert, self._messages(table, expert, said)))
            answer = await self._answer(table, expert, said, is_last=steps_left == 1)
            if answer.usable:
                said.append(answer)
            if self._is_settled(said):
                break
        return _ended(said)

    def check(self, members: Sequence[ExpertBase], panel: PanelSpec) -> None:
        """Raises ValueError where it could never be as the panel says."""
        refuse_quorum(panel, "what one member leaves is the answer")
        if self._agree > max(2, len(members)):
            raise ValueError(
                f"agree: expected no more than its {len(members)} members, who speak once, got {self._agree}"
            )

    def _num_steps(self, table: Table) -> int:
        """As many as there are members, and calls."""
        limits = (len(table.members), self._steps, table.budget.calls_left)
        return max(1, min(limit for limit in limits if limit is not None))

    async def _answer(self, table: Table, expert: str, said: list[MemberAnswer], *, is_last: bool) -> MemberAnswer:
        """The client's own question is for the first, and for the others as well while nobody has an answer to it."""
        if said:
            messages, form = self._messages(table, expert, said), table.call.body.get("response_format")
            link = f"link {len(said) + 1}"
            return await table.ask(expert, messages, round=link, purpose="answer", response_format=form)
        return (await (table.answers([expert]) if is_last else table.hear([expert])))[0]

    def _messages(self, table: Table, expert: str, said: list[MemberAnswer]) -> Messages:
        """The question with the last answer to it."""
        _, messages = quote_to_fit(
            table,
            expert,
            said[-1:],
            lambda quoted: within(
                table.messages, self._prompts.messages("improve", question=table.question, answer=quoted.text)
            ),
        )
        return messages

    def _is_settled(self, said: list[MemberAnswer]) -> bool:
        latest = said[-self._agree :]
        return len(latest) == self._agree and len({final_answer(answer.text) for answer in latest}) == 1


async def _next(table: Table, left: list[str], said: list[MemberAnswer]) -> str:
    """Whom the router expects most of now; of equals the first."""
    now = f"{table.question}\n\n{said[-1].text}" if said else None
    scores = await table.scores(now) if len(left) > 1 else {}
    return max(left, key=lambda expert: scores.get(expert, 0.0))


def _ended(said: list[MemberAnswer], final: Final | None = None) -> Combined:
    who = tuple(answer.expert for answer in said) + ((final.expert,) if final else ())
    if len(who) == 1:
        return Combined(said[-1].text, who, "the only answer")
    why = f"handed on from {' to '.join(who)}" + ("" if final else ", and then it stayed as it was")
    return Combined(said[-1].text, who, why, final=final)
