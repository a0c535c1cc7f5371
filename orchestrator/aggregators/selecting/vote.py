"""A vote over final answers: what most members conclude, in the words of the strongest of them.

    aggregator: vote                    # every member has one vote
    router: support                     # its votes weigh what this router expects of it on the query

For questions whose answer is a number, a letter or a few words (self-consistency, arXiv 2203.11171, over models rather than
samples). A weight is the log-odds of being right (Nitzan & Paroush 1982: optimal for members that err independently), by the
panel's router, which knows how each does on this kind of query. A text that ends in no short answer agrees only with the same
text. Ties go to the earlier member.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.aggregators.base import Combined, MemberAnswer
from orchestrator.aggregators.table import Table
from routers.data.answers import final_answers

FLOOR = 0.05
"""No member is taken to be right, or wrong, more surely than this leaves; a weight is never below that of this chance."""


class Vote:
    async def combine(self, table: Table) -> Combined:
        answers = await table.answers()
        return elect(answers, await table.scores())


@dataclass(frozen=True, slots=True)
class Camp:
    """Members who conclude alike. weight: of their votes together. spokesman: the strongest of them."""

    answers: tuple[MemberAnswer, ...]
    weight: float
    spokesman: MemberAnswer

    @property
    def who(self) -> tuple[str, ...]:
        return tuple(answer.expert for answer in self.answers)


def elect(answers: Sequence[MemberAnswer], scores: Mapping[str, float]) -> Combined:
    """The camp that weighs most. answers: at least one. scores: expected reward of each member, 0..1; none: all weigh the same."""
    winner = camps(answers, scores)[0]
    agree = f"{len(winner.answers)} of {len(answers)} agree"
    return Combined(winner.spokesman.text, winner.who, agree + (", weighted" if scores else ""))


async def stand_in(table: Table, answers: Sequence[MemberAnswer], because: str) -> Combined:
    """What stands where a judge should have decided and did not: a vote. because: what became of the judge."""
    elected = elect(answers, await table.scores())
    return replace(elected, why=f"{because}; {elected.why}")


def camps(answers: Sequence[MemberAnswer], scores: Mapping[str, float]) -> list[Camp]:
    """Who concludes alike, the heaviest camp first."""
    weights = {answer.expert: log_odds(scores[answer.expert]) if answer.expert in scores else 1.0 for answer in answers}
    alike: dict[str, list[MemberAnswer]] = {}
    for answer, concluded in zip(answers, final_answers([answer.text for answer in answers]), strict=True):
        alike.setdefault(concluded or "", []).append(answer)
    found = [
        Camp(tuple(camp), sum(weights[a.expert] for a in camp), max(camp, key=lambda a: weights[a.expert]))
        for camp in alike.values()
    ]
    return sorted(found, key=lambda camp: camp.weight, reverse=True)


def log_odds(score: float) -> float:
    """The weight of a vote that is right with probability `score`; small and positive for one that is as often wrong."""
    clipped = min(max(score, FLOOR), 1 - FLOOR)
    return max(math.log(clipped / (1 - clipped)), FLOOR)
