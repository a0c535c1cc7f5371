"""One question asked several times, behind the most similar solved ones, its options in another order each time; then a vote.

    tested: {experts: [small], aggregator: medprompt, demonstrations: train.jsonl.gz, nearest: 3, samples: 5}

After Medprompt, "Can Generalist Foundation Models Outcompete Special-Purpose Tuning?" (arXiv 2311.16452): demonstrations are chosen
per question, their reasoning is the expert's own and is only shown if it came to the right answer, and options are shuffled,
because experts favour places. There the reasoning is written beforehand and one model answers; here it is written when a
demonstration is first needed, and kept, and members take turns. An outcome file that has right answers with their reasoning saves
that. A question without options is asked in the same words each time. Where an order of its own won the vote, the answer names the
option; its reasoning speaks of letters that the client didn't see.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_uppercase
from typing import Annotated, Any

from pydantic import Field

from orchestrator.aggregators.base import Combined, MemberAnswer
from orchestrator.aggregators.quorum import is_quorate, refuse_quorum
from orchestrator.aggregators.reading.choices import Choices, read_choices
from orchestrator.aggregators.reading.usable import is_of_use
from orchestrator.aggregators.selecting.demonstrations import Demonstration, Demonstrations
from orchestrator.aggregators.selecting.vote import elect, stand_in
from orchestrator.aggregators.table import Table
from orchestrator.aggregators.talking.writing import within
from orchestrator.config import ExpertBase, PanelSpec
from orchestrator.labelling.choice import picked
from orchestrator.labelling.quoting import harmless
from orchestrator.prompts import Prompts
from orchestrator.types import Messages
from routers.confidence import SAMPLE_TEMPERATURE
from routers.data.answers import final_answer

MAX_REASONINGS = 4096
"""How many are kept, of all members together; the oldest go first."""
REASONING_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Sample:
    """One time of asking. order: which option stands in which place; None where the question has no options."""

    expert: str
    messages: Messages
    order: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Worked:
    """A demonstration as it is shown: the user's turn, and the answer."""

    question: Mapping[str, Any]
    answer: str


@dataclass(frozen=True, slots=True)
class Ballot:
    """vote: a sample's conclusion, in the client's letters. text: its own words, where those are in the client's letters too."""

    vote: MemberAnswer
    text: str | None


class Medprompt:
    """demonstrations: an outcome file with targets. nearest: how many are shown. samples: how often the question is asked, in all.

    write_reasoning: have members write the reasoning of demonstrations that come without; else those show their answer alone.
    """

    def __init__(
        self,
        prompts: Prompts,
        demonstrations: Path,
        nearest: Annotated[int, Field(ge=0, le=50)] = 3,
        samples: Annotated[int, Field(ge=1, le=50)] = 5,
        write_reasoning: bool = True,
    ) -> None:
        self._prompts = prompts
        self._demonstrations = Demonstrations(demonstrations)
        self._nearest = nearest
        self._samples = samples
        self._write_reasoning = write_reasoning
        self._written: OrderedDict[tuple[str, str], str | None] = OrderedDict()

    async def combine(self, table: Table) -> Combined:
        form = table.call.body.get("response_format")
        choices = None if form else read_choices(table.question)
        shown = await self._shown(table)
        samples = [self._sample(table, number, choices, shown) for number in range(self._samples)]
        table.say(f"asking {len(samples)} times")
        answers = await table.ask_each(
            [(sample.expert, sample.messages) for sample in samples],
            round="samples",
            purpose="sample",
            temperature=SAMPLE_TEMPERATURE,
            response_format=form,
        )
        read = [_read(sample, answer, choices) for sample, answer in zip(samples, answers, strict=True)]
        ballots = [ballot for ballot in read if ballot is not None]
        if not ballots or not is_quorate([ballot.vote for ballot in ballots], table.quorum):
            why = "samples of too few members" if ballots else "no sample"
            return await stand_in(table, await table.answers(), f"{why} came to an answer")
        elected = elect([ballot.vote for ballot in ballots], await table.scores())
        text = next(
            (ballot.text for ballot in ballots if ballot.vote.text == elected.text and ballot.text), elected.text
        )
        votes = Counter(final_answer(ballot.vote.text) for ballot in ballots)
        return replace(elected, text=text, who=tuple(dict.fromkeys(elected.who)), details={"votes": dict(votes)})

    def check(self, members: Sequence[ExpertBase], panel: PanelSpec) -> None:
        """Raises ValueError where fewer members are asked than the quorum demands."""
        refuse_quorum(panel, "no more members are asked (samples)", most=self._samples)

    def _sample(
        self, table: Table, number: int, choices: Choices | None, shown: Mapping[str, Sequence[Worked]]
    ) -> Sample:
        """The first keeps the client's order, so that its words can be the answer."""
        expert = table.members[number % len(table.members)]
        question, order = table.question, None
        if choices is not None:
            places = range(len(choices.options))
            order = tuple(places if number == 0 else table.dice.sample(places, len(places)))
            question = choices.ordered(order)
        plain = within(table.messages, self._prompts.messages("question", question=question))
        nearest_last = list(reversed(shown[expert]))
        while nearest_last and not table.fits(expert, _before(plain, nearest_last)):
            del nearest_last[0]
        return Sample(expert, _before(plain, nearest_last), order)

    async def _shown(self, table: Table) -> dict[str, list[Worked]]:
        """What each member is shown, the nearest first: only what it, or the file, worked out rightly."""
        nearest = self._demonstrations.nearest(table.question, self._nearest)
        if self._write_reasoning:
            await self._write(table, nearest)
        return {
            expert: [
                Worked(self._prompts.messages("question", question=each.query)[-1], worked)
                for each in nearest
                if (worked := self._worked(expert, each)) is not None
            ]
            for expert in table.members
        }

    def _worked(self, expert: str, demonstration: Demonstration) -> str | None:
        """The answer that is shown; None where the expert's own reasoning went wrong."""
        if demonstration.reasoning is not None:
            return demonstration.reasoning
        return self._written.get((expert, demonstration.query), f"The answer is {demonstration.target}.")

    async def _write(self, table: Table, nearest: Sequence[Demonstration]) -> None:
        """Have members work out what is not worked out yet, as far as the budget leaves room for the samples."""
        unknown = [
            (expert, each)
            for each in nearest
            for expert in table.members[: self._samples]
            if each.reasoning is None and (expert, each.query) not in self._written
        ]
        if table.budget.calls_left is not None:
            unknown = unknown[: max(0, table.budget.calls_left - self._samples)]
        if not unknown:
            return
        table.say(f"working out {len(unknown)} demonstrations")
        answers = await table.ask_each(
            [(expert, self._prompts.messages("question", question=each.query)) for expert, each in unknown],
            round="demonstrations",
            max_tokens=REASONING_TOKENS,
            temperature=0,
        )
        for (expert, each), answer in zip(unknown, answers, strict=True):
            if answer.usable:
                self._written[expert, each.query] = answer.text if _concludes(answer.text, each) else None
        while len(self._written) > MAX_REASONINGS:
            self._written.popitem(last=False)


def _concludes(text: str, demonstration: Demonstration) -> bool:
    """Whether a text comes to the right answer."""
    if (choices := read_choices(demonstration.query)) is None:
        return final_answer(text) == final_answer(demonstration.target)
    picks = picked(text, choices.options)
    return picks is not None and picks == picked(demonstration.target, choices.options)


def _before(messages: Messages, shown: Sequence[Worked]) -> Messages:
    """Demonstrations as turns between the system message and the conversation."""
    turns = [
        turn for each in shown for turn in (each.question, {"role": "assistant", "content": harmless(each.answer)})
    ]
    start = 1 if messages[0]["role"] == "system" else 0
    return [*messages[:start], *turns, *messages[start:]]


def _read(sample: Sample, answer: MemberAnswer, choices: Choices | None) -> Ballot | None:
    """What a sample votes for; None where it can't be used, or picks no option."""
    if not is_of_use(answer):
        return None
    if choices is None or sample.order is None:
        return Ballot(answer, answer.text)
    letter = picked(answer.text, tuple(choices.options[place] for place in sample.order))
    if letter is None:
        return None
    place = sample.order[ascii_uppercase.index(letter)]
    vote = replace(answer, text=f"The answer is {ascii_uppercase[place]}. {choices.options[place]}")
    return Ballot(vote, answer.text if sample.order == tuple(range(len(sample.order))) else None)
