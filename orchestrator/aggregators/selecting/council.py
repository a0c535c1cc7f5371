"""The members rank each other's answers without knowing whose they are; the one ranked best stands, or a chairman writes from it.

    aggregator: council
    chairman: true                      # the judge writes the answer; otherwise the best one stands, word for word
    judge: large

Every member that answered sees all answers in an order by lot and says which are the best, as in "PRD: Peer Rank and Discussion
Improve Large Language Model based Evaluations" (arXiv 2307.02762), with one round and equal votes. Its own answer is struck out
of its ranking, as members prefer their own; an answer's score is its mean place among the others, 1 for always first and 0 for
always last. So a member that was talked into something, or in league with another, has one vote. Who ranks nothing abstains.
Equal scores are told apart by how many conclude alike, which decides between two members, whose rankings say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from orchestrator.aggregators.base import Combined, MemberAnswer
from orchestrator.aggregators.reading.quoting import Quoted, quote_to_fit
from orchestrator.aggregators.selecting.best_of import strongest
from orchestrator.aggregators.selecting.vote import stand_in
from orchestrator.aggregators.table import Table
from orchestrator.aggregators.talking.writing import final_by_judge
from orchestrator.labelling.quoting import without_thinking
from orchestrator.prompts import Prompts
from orchestrator.types import Messages

RANKING_TOKENS = 256
UNRANKED = 0.5
"""The place of who is on nobody's ballot."""

_LABEL = r"(?:(?i:answer|response)\s+)?([A-Z]{1,2})\b"
_CHAIN = re.compile(rf"\b{_LABEL}(?:[\s\"'*]*[>,;=→]+[\s\"'*]*{_LABEL})+")
_LISTED = re.compile(rf"^[ \t]*\d+[.):][^\w\n]*{_LABEL}", re.MULTILINE)
_ALONE = re.compile(rf"\A\W*{_LABEL}\W*\Z")


class Council:
    """chairman: whether the judge writes the answer from the ranking."""

    def __init__(self, *, prompts: Prompts, chairman: bool = False) -> None:
        self._prompts = prompts
        self._chairman = chairman

    async def combine(self, table: Table) -> Combined:
        answers = await table.answers()
        if len(answers) == 1:
            return Combined(answers[0].text, (answers[0].expert,), "the only answer")
        ballots = await self._ballots(table, answers) if len(answers) > 2 else {}
        scores = mean_places(ballots, [answer.expert for answer in answers])
        if scores:
            best = strongest(answers, scores)
            why = (
                f"{best.expert} was placed {scores[best.expert]:.2f} of 1 by {len(ballots)} of {len(answers)} rankings"
            )
            combined = Combined(best.text, (best.expert,), why, details={"scores": scores, "ballots": ballots})
        else:
            combined = await stand_in(table, answers, "nobody ranked the answers")
        return self._written(table, answers, combined, scores) if self._chairman else combined

    async def _ballots(self, table: Table, answers: Sequence[MemberAnswer]) -> dict[str, list[str]]:
        """Whom each voter places, the best first, without itself; without those who place nobody."""
        table.say(f"{len(answers)} members rank the answers")
        shown: dict[str, Quoted] = {}
        questions: dict[str, Messages] = {}
        for voter in (answer.expert for answer in answers):
            shown[voter], questions[voter] = quote_to_fit(
                table, voter, answers, lambda quoted: self._question(table, quoted), max_tokens=RANKING_TOKENS
            )
        replies = await table.gather(questions, round="ranking", max_tokens=RANKING_TOKENS, temperature=0)
        ballots = {}
        for reply in replies:
            whose = shown[reply.expert].by_label
            placed = [whose[letter].expert for letter in read_ranking(reply.text, tuple(whose))]
            if others := [expert for expert in placed if expert != reply.expert]:
                ballots[reply.expert] = others
                table.note("ballots", reply.expert, " > ".join(others))
        return ballots

    def _question(self, table: Table, quoted: Quoted) -> Messages:
        """The example of a ranking is drawn by lot, so that it favours nobody."""
        example = " > ".join(table.dice.sample(list(quoted.by_label), len(quoted.by_label)))
        return self._prompts.messages("rank", question=table.question, answers=quoted.text, example=example)

    def _written(
        self, table: Table, answers: Sequence[MemberAnswer], combined: Combined, scores: Mapping[str, float]
    ) -> Combined:
        """The chairman's answer, with `combined` as what stands if the chairman fails."""

        def write(quoted: Quoted) -> Messages:
            places = sorted(quoted.by_label.items(), key=lambda item: -scores.get(item[1].expert, UNRANKED))
            told = ", ".join(f"{letter} ({scores.get(answer.expert, UNRANKED):.2f})" for letter, answer in places)
            return self._prompts.messages("chairman", question=table.question, answers=quoted.text, ranking=told)

        table.say(f"{table.judge} writes the answer")
        final = final_by_judge(table, answers, write)
        if final is None:
            return replace(combined, why=f"{table.judge} can't be asked to write it; {combined.why}")
        who = tuple(answer.expert for answer in answers)
        return replace(combined, who=who, why=f"given to {table.judge} to write from; {combined.why}", final=final)


def read_ranking(reply: str, labels: Sequence[str]) -> list[str]:
    """The labels that a reply places, the best first: 'B > A', a numbered list, JSON or one letter. The last ranking counts."""
    reply = without_thinking(reply)
    chains = [(found.start(), re.findall(r"\b[A-Z]{1,2}\b", found[0])) for found in _CHAIN.finditer(reply)]
    listed = list(_LISTED.finditer(reply))
    lists = [(listed[-1].start(), [found[1] for found in listed])] if listed else []
    alone = [(0, [found[1]])] if (found := _ALONE.match(reply)) else []
    _, ranked = max(chains + lists + alone, default=(0, []))
    return [letter for letter in dict.fromkeys(ranked) if letter in labels]


def mean_places(ballots: Mapping[str, Sequence[str]], candidates: Sequence[str]) -> dict[str, float]:
    """By candidate, 1 for always first and 0 for always last; empty when no ballot says anything.

    ballots: whom each voter places, the best first, without itself. Who is not on a ballot shares the mean of the places left.
    """
    places: dict[str, list[float]] = {candidate: [] for candidate in candidates}
    for voter, placed in ballots.items():
        others = [candidate for candidate in candidates if candidate != voter]
        if len(others) < 2 or not placed:
            continue
        left = (len(placed) + len(others) - 1) / 2
        for candidate in others:
            place = placed.index(candidate) if candidate in placed else left
            places[candidate].append(1.0 - place / (len(others) - 1))
    if not any(places.values()):
        return {}
    return {candidate: fmean(found) if found else UNRANKED for candidate, found in places.items()}
