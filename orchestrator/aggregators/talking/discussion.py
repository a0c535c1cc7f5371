"""The members discuss the question for a few turns, and decide by a protocol as soon as it decides.

    aggregator: discussion
    paradigm: memory                # who hears whom: memory, report, relay, debate
    decision: majority              # supermajority, unanimity, ranked, approval, cumulative, judge
    max_turns: 3

After "Multi-Agent LLMs for Conversational Task-Solving" (arXiv 2410.22932): its paradigms (`paradigms.py`), its ways to decide
(`decisions.py`) and the faults it found (`minutes.py`): long discussions drift from the question, so they are short, a speech
that has drifted is left out, and who talks most is cut. Departures: speeches of a turn are simultaneous where the paradigm allows
it; ballots are probabilities of one token where members have them. Members that conclude alike from the beginning discuss nothing.
Without a decision the opinion stands that weighs most among the last drafts. The judge writes the answer, and reads the opinions
that differ too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Annotated, Any, Literal

from pydantic import Field

from orchestrator.aggregators.base import Combined, Final, MemberAnswer
from orchestrator.aggregators.reading.quoting import Quoted, cut, quote_to_fit
from orchestrator.aggregators.selecting.vote import Camp, camps, elect
from orchestrator.aggregators.table import Table
from orchestrator.aggregators.talking.decisions import Ballot, DecisionProtocol, decide
from orchestrator.aggregators.talking.minutes import Minutes
from orchestrator.aggregators.talking.paradigms import Paradigm, waves
from orchestrator.aggregators.talking.speaking import TOKENS_PER_WORD, fitting, in_turn
from orchestrator.aggregators.talking.writing import final_by_judge, shares_of_vote, within
from orchestrator.labelling.quoting import harmless
from orchestrator.prompts import Prompts
from orchestrator.types import Messages
from routers.data.answers import conclusion, final_answer

BALLOT_TOKENS = 16
JUDGE_BALLOTS = 2


class Discussion:
    def __init__(
        self,
        *,
        prompts: Prompts,
        paradigm: Paradigm = "memory",
        decision: DecisionProtocol | Literal["judge"] = "majority",
        max_turns: Annotated[int, Field(ge=1)] = 3,
        max_words: Annotated[int, Field(ge=10)] = 120,
        min_overlap: Annotated[float, Field(ge=0, le=1)] = 0.1,
        max_share: Annotated[float, Field(gt=0, le=1)] = 0.5,
    ) -> None:
        """max_words: about as many as a speech may have. min_overlap, max_share: see `Minutes`."""
        self._prompts = prompts
        self._paradigm = paradigm
        self._decision = decision
        self._max_turns = max_turns
        self._max_words = max_words
        self._max_tokens = max_words * TOKENS_PER_WORD
        self._min_overlap = min_overlap
        self._max_share = max_share

    async def combine(self, table: Table) -> Combined:
        answers = await table.answers()
        scores = await table.scores()
        if len(camps(answers, scores)) == 1:
            agreed = elect(answers, scores)
            return replace(agreed, why=f"no discussion: {agreed.why}")
        minutes = Minutes(
            table.question,
            answers,
            scores,
            max_tokens=self._max_tokens,
            min_overlap=self._min_overlap,
            max_share=self._max_share,
            dice=table.dice,
        )
        winner, num_turns = None, 0
        while winner is None and num_turns < self._max_turns and self._can_go_on(table, minutes):
            num_turns += 1
            await self._hold_turn(table, minutes, num_turns)
            winner = await self._decide(table, minutes, num_turns)
        return self._conclude(table, minutes, winner, num_turns)

    def _can_go_on(self, table: Table, minutes: Minutes) -> bool:
        """Whether there are two to discuss, and calls for a turn, its ballots and the writer."""
        num_present = len(minutes.present)
        num_ballots = JUDGE_BALLOTS if self._decision == "judge" else num_present
        return num_present > 1 and table.budget.has_room(num_present + num_ballots + 1)

    async def _hold_turn(self, table: Table, minutes: Minutes, turn: int) -> None:
        """What everybody who is present says. Who fails is not asked again; what it has said stands."""
        table.say(f"discussion: turn {turn} of at most {self._max_turns}")
        for wave in waves(self._paradigm, tuple(minutes.present), table.dice):
            questions = {speaker: self._brief(table, minutes, speaker, heard) for speaker, heard in wave.items()}
            for speech in await table.gather(questions, round=f"turn {turn}", max_tokens=self._max_tokens):
                if not speech.usable:
                    minutes.present.remove(speech.expert)
                elif not minutes.add(turn, speech):
                    table.note("drift", speech.expert, f"turn {turn} was off the question, and is left out")

    def _brief(self, table: Table, minutes: Minutes, speaker: str, heard: frozenset[str]) -> Messages:
        """What a member is asked, after what it said last."""
        said = cut(harmless(minutes.latest[speaker].text), self._max_tokens)

        def write(limit: int) -> Messages:
            then = self._prompts.text(
                "speak",
                number=str(minutes.numbers[speaker]),
                heard=minutes.heard(heard, limit),
                words=str(self._max_words),
            )
            return in_turn(table, said=cut(said, limit), then=then)

        return fitting(table, speaker, write, most=self._max_tokens, reply=self._max_tokens)

    async def _decide(self, table: Table, minutes: Minutes, turn: int) -> Camp | None:
        """The opinion that the protocol makes the winner, if it does: without ballots when there is only one left."""
        opinions = minutes.opinions()
        if len(opinions) == 1:
            return opinions[0]
        papers = self._papers(table, minutes, [camp.spokesman for camp in opinions])
        ballots = await asyncio.gather(*(self._ballot(table, voter, order, turn) for voter, order in papers))
        chosen = decide("majority" if self._decision == "judge" else self._decision, ballots)
        return next((camp for camp in opinions if final_answer(camp.spokesman.text) == chosen), None)

    def _papers(
        self, table: Table, minutes: Minutes, candidates: Sequence[MemberAnswer]
    ) -> list[tuple[str, list[MemberAnswer]]]:
        """Who votes, and the order of the opinions on each ballot paper. A judge votes twice, with opposite orders."""
        if self._decision == "judge":
            order = table.dice.sample(candidates, len(candidates))
            return [(table.judge, order), (table.judge, order[::-1])]
        return [(voter, table.dice.sample(candidates, len(candidates))) for voter in minutes.present]

    async def _ballot(self, table: Table, voter: str, candidates: Sequence[MemberAnswer], turn: int) -> Ballot:
        """How a voter divides its vote among opinions; empty when it fails."""

        def write(quoted: Quoted) -> Messages:
            values = {"question": table.question, "answers": quoted.text, "labels": ", ".join(quoted.by_label)}
            return within(table.messages, self._prompts.messages("ballot", **values))

        quoted, messages = quote_to_fit(table, voter, candidates, write, max_tokens=BALLOT_TOKENS, in_order=True)
        shares = await table.choose(voter, messages, tuple(quoted.by_label), round=f"ballot {turn}")
        return {final_answer(quoted.by_label[label].text): share for label, share in shares.items()}

    def _conclude(self, table: Table, minutes: Minutes, winner: Camp | None, num_turns: int) -> Combined:
        """The winner's answer, as somebody gave it to the client if anybody did; written by the judge while some differ."""
        opinions = minutes.opinions()
        chosen = winner or opinions[0]
        concluded = final_answer(chosen.spokesman.text)
        first = next((draft for draft in minutes.drafts if final_answer(draft.text) == concluded), None)
        final = None if first and len(opinions) == 1 else self._final(table, opinions, chosen)
        how = self._how(winner, num_turns)
        why = f"{how}; {len(chosen.answers)} of {len(minutes.drafts)} agree"
        text, who = (first or chosen.spokesman).text, chosen.who
        if first is None and table.call.body.get("response_format"):  # a speech is in no form
            text, drafters = minutes.drafted().spokesman.text, minutes.drafted().who
            if final is None:
                who, why = drafters, f"{why}; {table.judge} can't be asked to write it, and the first drafts stand"
        return Combined(text, who, why, final=final, details=self._details(minutes, opinions, num_turns))

    def _how(self, winner: Camp | None, num_turns: int) -> str:
        if not num_turns:
            return "the budget has no room for a discussion"
        decided = "decided" if winner else "no decision"
        return f"{decided} by {self._decision} after {num_turns} turn{'s' * (num_turns != 1)}"

    def _final(self, table: Table, opinions: Sequence[Camp], chosen: Camp) -> Final | None:
        """The judge as the writer, who reads every opinion that is left, and what it weighs."""

        def write(quoted: Quoted) -> Messages:
            choice = next(label for label, answer in quoted.by_label.items() if answer is chosen.spokesman)
            values = {"question": table.question, "answers": quoted.text, "choice": choice}
            shares = shares_of_vote(quoted, opinions)
            return within(table.messages, self._prompts.messages("write", shares=shares, **values))

        return final_by_judge(table, [camp.spokesman for camp in opinions], write)

    def _details(self, minutes: Minutes, opinions: Sequence[Camp], num_turns: int) -> dict[str, Any]:
        """What the record keeps: the measures of drift and of monopolies among it."""
        return {
            "paradigm": self._paradigm,
            "decision": self._decision,
            "turns": num_turns,
            "overlap_by_turn": [fmean(overlaps) for overlaps in minutes.overlaps.values()],
            "num_drifted": minutes.num_drifted,
            "shares": minutes.shares(),
            "opinions": [
                {
                    "answer": cut(conclusion(camp.spokesman.text), self._max_tokens),
                    "members": list(camp.who),
                    "weight": camp.weight,
                }
                for camp in opinions
            ],
        }
