"""A conductor breaks the task up, calls experts who see nothing but their part, checks what they say, and puts it together.

    orchestra: {experts: [coder, small], aggregator: conductor, judge: large, max_turns: 6}

After "Meta-Prompting: Enhancing Language Models with Task-Agnostic Scaffolding" (arXiv 2401.12954): the conductor names experts
and writes their instructions as it goes, and nobody but it sees the whole. There one model plays all parts; here the judge
conducts, and an expert is played by the member whose description and skills have most words in common with the title, or by
whoever's turn it is. That a fresh expert checks the result is asked of the conductor there; here a member is asked besides, once,
whether the answer is right, and the conductor looks again if not. A conductor that calls nobody or ends nothing is taken at its
last words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import Field

from orchestrator.aggregators.base import Combined, Final, MemberAnswer
from orchestrator.aggregators.quorum import refuse_quorum
from orchestrator.aggregators.reading.quoting import Quoted, quote_text, quote_to_fit
from orchestrator.aggregators.reading.usable import is_of_use, why_unusable
from orchestrator.aggregators.selecting.vote import stand_in
from orchestrator.aggregators.table import Table
from orchestrator.aggregators.talking.conducting import ExpertCall, Turn, read_turn
from orchestrator.aggregators.talking.writing import can_write, step_tokens, within
from orchestrator.config import ExpertBase, PanelSpec
from orchestrator.labelling.quoting import harmless
from orchestrator.prompts import Prompts
from orchestrator.types import Messages

LEAST_CALLS = 3
"""To say who is called, to call, and to write the answer."""
CHECK_TOKENS = 16
DOUBT = 0.5
"""Who checks an answer doubts it when "no" is likelier than this."""
STEM_LETTERS = 4


@dataclass(slots=True)
class Work:
    """One task under way. head: the task. exchanges: what the conductor said, and was told. who: members that played experts.

    best: the conductor's last words that may be the answer. part: an expert's, which are better than nothing.
    """

    head: Messages
    exchanges: list[tuple[str, str]] = field(default_factory=list)
    best: str = ""
    part: str = ""
    who: list[str] = field(default_factory=list)
    num_calls: int = 0
    reminded: bool = False
    checked: bool = False


class Conductor:
    """max_turns: of the conductor, the one that writes the answer included."""

    def __init__(self, prompts: Prompts, max_turns: Annotated[int, Field(ge=2, le=20)] = 6) -> None:
        self._prompts = prompts
        self._max_turns = max_turns

    async def combine(self, table: Table) -> Combined:
        head = self._prompts.messages("conduct", question=table.question, turns=str(self._max_turns))
        work = Work(within(table.messages, head))
        for number in range(1, self._max_turns):
            if not table.budget.has_room(LEAST_CALLS):
                break
            room = step_tokens(table, table.judge)
            messages = _conversation(table, work, room)
            said = await table.ask(table.judge, messages, round=f"turn {number}", max_tokens=room)
            if not said.usable:
                return await _silent(table, work)
            turn = read_turn(said.text)
            if turn.answer is not None and said.finish_reason == "length":
                break
            if (last := await self._last_words(table, work, said, turn)) is not None:
                work.best, why = last
                if _has_form(table, work.best):
                    return _ended(table, work, work.best, why)
                work.exchanges.append((harmless(turn.text), ""))
                break
            work.exchanges.append((harmless(turn.text), await self._told(table, work, turn)))
        return await self._finish(table, work)

    def check(self, members: Sequence[ExpertBase], panel: PanelSpec) -> None:
        """Raises ValueError for a quorum, as members are not asked the client's question."""
        refuse_quorum(panel, "members see only parts of the question")

    async def _last_words(self, table: Table, work: Work, said: MemberAnswer, turn: Turn) -> tuple[str, str] | None:
        """The answer and how it came about, if this turn of the conductor ends the work."""
        if turn.answer is None:
            ended = not turn.calls and work.reminded
            return (said.text, f"{table.judge} ended without an end") if ended else None
        if await self._is_doubted(table, work, replace(said, text=turn.answer)):
            return None
        return turn.answer, f"{table.judge} conducted, experts called: {work.num_calls}"

    async def _told(self, table: Table, work: Work, turn: Turn) -> str:
        """What the conductor hears after its turn, which did not end the work."""
        if turn.calls:
            return self._prompts.text("replies", replies=await _replies(table, work, turn.calls))
        work.best = turn.answer or turn.text
        if turn.answer is not None:
            return self._prompts.text("doubt")
        work.reminded = True
        return self._prompts.text("remind")

    async def _is_doubted(self, table: Table, work: Work, answer: MemberAnswer) -> bool:
        """Whether a member who has not seen how it came about finds the answer wrong. Asked once, if there is somebody to ask."""
        others = [member for member in table.members if member != table.judge]
        if work.checked or not others or not table.budget.has_room(2):
            return False
        work.checked = True
        checker = others[work.num_calls % len(others)]

        def write(quoted: Quoted) -> Messages:
            return self._prompts.messages("verify", question=table.question, answer=quoted.text)

        _, messages = quote_to_fit(table, checker, [answer], write, max_tokens=CHECK_TOKENS)
        chances = await table.choose(checker, messages, ("yes", "no"), round="check")
        return chances.get("no", 0.0) > DOUBT

    async def _finish(self, table: Table, work: Work) -> Combined:
        """The conductor writes the answer from what it has, if it can give it the form that was asked for."""
        if not work.exchanges:
            return await stand_in(table, await table.answers(), "the budget has no room for a conductor")
        who = tuple(dict.fromkeys((table.judge, *work.who)))
        said, told = work.exchanges[-1]
        work.exchanges[-1] = said, "\n\n".join(filter(None, (told, self._prompts.text("finish"))))
        messages = _conversation(table, work, None)
        if table.call.body.get("response_format") and not can_write(table, table.judge, messages):
            return await stand_in(table, await table.answers(), f"{table.judge} can't be asked to write it")
        why = f"{table.judge} conducted and is to write the answer, experts called: {work.num_calls}"
        return Combined(work.best or work.part, who, why, final=Final(table.judge, messages))


async def _replies(table: Table, work: Work, calls: Sequence[ExpertCall]) -> str:
    """What the experts say who are called, each quoted under its title."""
    left = table.budget.calls_left
    calls = calls if left is None else calls[: left - 1]
    calls = [ExpertCall(harmless(call.title), harmless(call.instructions)) for call in calls]
    players = [_player(table, call.title, work.num_calls + place) for place, call in enumerate(calls)]
    table.say(f"asking {', '.join(call.title for call in calls)}")
    asked = [
        (player, [{"role": "user", "content": call.instructions}]) for player, call in zip(players, calls, strict=True)
    ]
    room = step_tokens(table, table.judge)
    answers = await table.ask_each(asked, round="experts")
    work.num_calls += len(calls)
    replies = []
    for call, answer in zip(calls, answers, strict=True):
        if not is_of_use(answer):
            replies.append(f"Expert {call.title} gave no answer.")
            continue
        work.who.append(answer.expert)
        work.part = answer.text
        replies.append(f"Expert {call.title}:\n{quote_text(answer.text, max_tokens=room // len(calls))}")
    return "\n\n".join(replies)


def _player(table: Table, title: str, turn: int) -> str:
    """The member that is most of an expert by that title; of equals, whoever's turn it is."""
    start = turn % len(table.members)
    wanted = _stems(title)

    def num_common(member: str) -> int:
        spec = table.spec(member)
        return len(wanted & _stems(" ".join((spec.description, *spec.skills))))

    return max((*table.members[start:], *table.members[:start]), key=num_common)


def _stems(text: str) -> set[str]:
    """How words begin, so that a mathematician has to do with mathematics; short words have no part in it."""
    return {word[:STEM_LETTERS] for word in re.findall(r"\w+", text.casefold()) if len(word) >= STEM_LETTERS}


def _conversation(table: Table, work: Work, max_tokens: int | None) -> Messages:
    """The task and what came of it, without the oldest exchanges where the conductor can't hold them all."""
    for start in range(len(work.exchanges) + 1):
        turns = [
            {"role": role, "content": text}
            for exchange in work.exchanges[start:]
            for role, text in zip(("assistant", "user"), exchange, strict=True)
        ]
        messages = [*work.head, *turns]
        if table.fits(table.judge, messages, max_tokens=max_tokens):
            break
    return messages


def _has_form(table: Table, answer: str) -> bool:
    """Whether an answer that stands in the conductor's prose has the form that the client asked for, if it asked for one."""
    body = table.call.body
    return not body.get("response_format") or why_unusable(answer, body=body) is None


async def _silent(table: Table, work: Work) -> Combined:
    """What there is when the conductor says nothing more."""
    why = f"{table.judge} fell silent"
    if work.best and _has_form(table, work.best):
        return _ended(table, work, work.best, why)
    return await stand_in(table, await table.answers(), why)


def _ended(table: Table, work: Work, text: str, why: str) -> Combined:
    return Combined(text, tuple(dict.fromkeys((table.judge, *work.who))), why, details={"calls": work.num_calls})
