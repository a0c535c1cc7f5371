"""Two answers are argued for before a judge who hasn't read the source, and decides by the arguments and by checked quotes.

    aggregator: debate
    style: debate                   # consultancy, the baseline: one of the two, by lot, is argued for, and the other is not
    rounds: 2
    question: last_paragraph        # of the user's turn: all that the judge reads of the conversation; or whole

After "Debate Helps Supervise Unreliable Experts" (arXiv 2311.08702): two experts have the source, which is what the client sent,
and the judge has not; speeches of a round are simultaneous, limited in length, and bear quotes that are looked up in the source.
Departures: the two answers are those that weigh most among the members (`vote.py`), and a member that holds one argues for it;
what it answered is its opening speech; the judge reads both orders, and a judgement counts only if both can be read. Members that
conclude alike need no debate. A tie, and a judge that fails, leave it to the members' votes.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from orchestrator.aggregators.base import Combined, MemberAnswer
from orchestrator.aggregators.reading.evidence import Checked, check_quotes
from orchestrator.aggregators.reading.quoting import cut, quote_text
from orchestrator.aggregators.selecting.vote import Camp, camps, elect
from orchestrator.aggregators.table import Table
from orchestrator.aggregators.talking.speaking import TOKENS_PER_WORD, fitting, in_turn
from orchestrator.experts.inputs import conversation_text
from orchestrator.labelling.quoting import quoted
from orchestrator.prompts import Prompts
from orchestrator.types import Messages
from routers.data.answers import conclusion

Shown = Literal["last_paragraph", "whole"]

TIE = 0.01
"""A judge whose probability is no further than this from even has not decided."""
JUDGE_CALLS = 2
HEADING_TOKENS = 60
"""What is shown of an answer beside the speeches for it, which begin with all of it."""
QUESTION_SPEECHES = 4
"""How many times as long as a speech the question may be that the judge reads."""


@dataclass(slots=True)
class Side:
    """A camp, and what its advocate has said for it: first its answer, then its speeches. speaks: whether it is asked for more.

    answer: the advocate's, checked, which is its first speech if it makes any.
    """

    camp: Camp
    answer: Checked
    speaks: bool
    speeches: list[Checked] = field(default_factory=list)

    @property
    def advocate(self) -> str:
        return self.camp.spokesman.expert

    @property
    def conclusion(self) -> str:
        return cut(conclusion(self.camp.spokesman.text), HEADING_TOKENS)

    @property
    def heading(self) -> str:
        """The conclusion as the judge reads it, whose quotes are marked as those of a speech."""
        return cut(conclusion(self.answer.text), HEADING_TOKENS)


Sides = tuple[Side, Side]


class Debate:
    def __init__(
        self,
        *,
        prompts: Prompts,
        style: Literal["debate", "consultancy"] = "debate",
        rounds: Annotated[int, Field(ge=1)] = 2,
        max_words: Annotated[int, Field(ge=10)] = 150,
        question: Shown = "last_paragraph",
    ) -> None:
        """max_words: about as many as a speech may have; what is beyond is cut."""
        self._prompts = prompts
        self._style = style
        self._rounds = rounds
        self._max_words = max_words
        self._max_tokens = max_words * TOKENS_PER_WORD
        self._question = question

    async def combine(self, table: Table) -> Combined:
        answers = await table.answers()
        scores = await table.scores()
        strongest = camps(answers, scores)[:2]
        by_vote = elect(answers, scores)
        if len(strongest) == 1:
            return replace(by_vote, why=f"no debate: {by_vote.why}")
        one, other = table.dice.sample(strongest, 2)
        sides = (self._side(table, one, speaks=True), self._side(table, other, speaks=self._style == "debate"))
        for number in range(1, self._rounds + 1):
            await self._hold_round(table, sides, number)
        probability = await self._judge(table, sides)
        details = self._details(sides, probability)
        if probability is None or abs(probability - 0.5) < TIE:
            reason = "the judge gave no judgement" if probability is None else "the judge was undecided"
            return replace(by_vote, why=f"{reason}; {by_vote.why}", details=details)
        winner, sure = (sides[0], probability) if probability > 0.5 else (sides[1], 1 - probability)
        why = f"won the {self._style} before the judge, who is {sure:.0%} sure"
        return Combined(winner.camp.spokesman.text, winner.camp.who, why, details=details)

    async def _hold_round(self, table: Table, sides: Sides, number: int) -> None:
        """A speech of each side that speaks, at once, if that leaves calls for the judge. Who fails is not asked again."""
        asked = [(side, other) for side, other in zip(sides, reversed(sides), strict=True) if side.speaks]
        if not asked or not table.budget.has_room(len(asked) + JUDGE_CALLS):
            return
        table.say(f"{self._style}: round {number} of {self._rounds}")
        questions = {side.advocate: self._brief(table, side, other) for side, other in asked}
        speeches = await table.gather(questions, round=f"speech {number}", max_tokens=self._max_tokens)
        for (side, _), speech in zip(asked, speeches, strict=True):
            side.speaks = speech.usable
            if speech.usable:
                side.speeches.append(self._checked(table, speech))

    def _side(self, table: Table, camp: Camp, *, speaks: bool) -> Side:
        checked = self._checked(table, camp.spokesman)
        return Side(camp, checked, speaks, [checked] if speaks else [])

    def _checked(self, table: Table, speech: MemberAnswer) -> Checked:
        source = conversation_text({"messages": table.messages})
        checked = check_quotes(cut(speech.text, self._max_tokens), source)
        if checked.quotes:
            found = (f'{"found" if quote.found else "not found"}: "{quote.text}"' for quote in checked.quotes)
            table.note("quotes", speech.expert, "; ".join(found))
        return checked

    def _brief(self, table: Table, side: Side, other: Side) -> Messages:
        """What an advocate is asked, after what it has said itself. Who does not speak is known by its answer."""
        theirs = other.speeches or [other.answer]

        def write(limit: int) -> Messages:
            heard = "\n\n".join(quoted("passage", cut(speech.text, limit)) for speech in theirs)
            said = "\n\n".join(cut(speech.text, limit) for speech in side.speeches)
            return in_turn(table, said=said, then=self._prompts.text("argue", theirs=heard, words=str(self._max_words)))

        return fitting(table, side.advocate, write, most=self._max_tokens, reply=self._max_tokens)

    async def _judge(self, table: Table, sides: Sides) -> float | None:
        """How likely the first side is right: the mean over both orders; None unless both can be read."""
        if not table.budget.has_room(JUDGE_CALLS):
            return None
        table.say(f"{self._style}: the judge decides")
        cases = (self._case(table, sides), self._case(table, sides[::-1]))
        asked = (table.choose(table.judge, case, ("A", "B"), round="judge") for case in cases)
        one, other = await asyncio.gather(*asked)
        return (one["A"] + other["B"]) / 2 if one and other else None

    def _case(self, table: Table, sides: Sides) -> Messages:
        """What the judge reads: the question, the answers A and B, and the speeches round by round."""
        question = shown_to_judge(table.question, self._question)
        num_speeches = max(len(side.speeches) for side in sides)

        def write(limit: int) -> Messages:
            speeches = [
                f"Speech {number + 1} for answer {label}:\n{quoted('passage', cut(side.speeches[number].text, limit))}"
                for number in range(num_speeches)
                for label, side in zip("AB", sides, strict=True)
                if number < len(side.speeches)
            ]
            return self._prompts.messages(
                "judge",
                question=quote_text(question, max_tokens=QUESTION_SPEECHES * limit),
                answer_a=quoted("passage", sides[0].heading),
                answer_b=quoted("passage", sides[1].heading),
                speeches="\n\n".join(speeches),
            )

        return fitting(table, table.judge, write, most=2 * self._max_tokens, reply=16)

    def _details(self, sides: Sides, probability: float | None) -> dict[str, Any]:
        """What the record keeps. probability: that the first side is right."""
        sure = (None, None) if probability is None else (probability, 1 - probability)
        return {
            "style": self._style,
            "sides": [
                {
                    "answer": side.conclusion,
                    "members": list(side.camp.who),
                    "advocate": side.advocate,
                    "num_speeches": len(side.speeches),
                    "quotes": [asdict(quote) for speech in side.speeches for quote in speech.quotes],
                    "probability": share,
                }
                for side, share in zip(sides, sure, strict=True)
            ],
        }


def shown_to_judge(turn: str, shown: Shown) -> str:
    """What the judge reads of the user's turn: its last paragraph; in a single one, from its last line with a question mark on."""
    paragraphs = [paragraph.strip() for paragraph in turn.split("\n\n") if paragraph.strip()]
    if shown == "whole" or not paragraphs:
        return turn.strip()
    if len(paragraphs) > 1:
        return paragraphs[-1]
    lines = paragraphs[0].splitlines()
    asking = [place for place, line in enumerate(lines) if "?" in line or "？" in line]
    return "\n".join(lines[asking[-1] if asking else 0 :])
