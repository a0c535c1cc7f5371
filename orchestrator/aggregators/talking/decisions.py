"""How a group decides: ballots in, a winner or None out. Pure functions.

    decide("majority", [{"4": 0.9, "5": 0.1}, {"4": 0.6, "5": 0.4}, {"4": 0.2, "5": 0.8}])           # '4'
    decide("unanimity", [{"4": 0.9, "5": 0.1}, {"4": 0.6, "5": 0.4}, {"4": 0.2, "5": 0.8}])          # None

A ballot says how much its voter is for each candidate, from which every protocol takes what it counts: the first choice, a ranking,
who is approved, or points. The protocols are those of "Multi-Agent LLMs for Conversational Task-Solving" (arXiv 2410.22932). All
treat voters alike and candidates alike, and a candidate that gains on a ballot never loses by it; a tie is no decision. Not here:
how ballots come about, and what happens without a decision (`discussion.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Literal

DecisionProtocol = Literal["majority", "supermajority", "unanimity", "ranked", "approval", "cumulative"]
Ballot = Mapping[str, float]
"""How much a voter is for each candidate, at least 0; a candidate that is not named has nothing, so an empty one abstains."""

CLOSE = 1e-9
"""What rounding alone may come to."""


def decide(protocol: DecisionProtocol, ballots: Sequence[Ballot]) -> str | None:
    """Who wins; None when nobody does, by too small a share or a tie, or when there are no ballots."""
    candidates = sorted({candidate for ballot in ballots for candidate in ballot})
    return _RULES[protocol](ballots, candidates) if candidates else None


def _by_quota(ballots: Sequence[Ballot], candidates: Sequence[str], *, quota: Fraction, or_more: bool) -> str | None:
    """Who is the first choice of more than `quota` of all voters, or that many where `or_more`; a voter without one counts too."""
    firsts = [_first_choice(ballot) for ballot in ballots]
    for candidate in candidates:
        share = Fraction(firsts.count(candidate), len(ballots))
        if share > quota or (or_more and share == quota):
            return candidate
    return None


def _first_choice(ballot: Ballot) -> str | None:
    liked = {candidate: share for candidate, share in ballot.items() if share > 0}
    return _leader(liked) if liked else None


def _ranked(ballots: Sequence[Ballot], candidates: Sequence[str]) -> str | None:
    """Borda's count: a point for each candidate that one is ranked above, half a point for each that one is level with."""
    return _leader(
        {candidate: sum(_rank_points(ballot, candidate, candidates) for ballot in ballots) for candidate in candidates}
    )


def _rank_points(ballot: Ballot, candidate: str, candidates: Sequence[str]) -> float:
    mine = ballot.get(candidate, 0.0)
    others = [ballot.get(other, 0.0) for other in candidates if other != candidate]
    return sum(0.5 if abs(mine - other) <= CLOSE else float(mine > other) for other in others)


def _approval(ballots: Sequence[Ballot], candidates: Sequence[str]) -> str | None:
    """A voter approves of whoever has at least an equal share of its ballot."""
    approved = {
        candidate: sum(
            ballot.get(candidate, 0.0) * len(candidates) >= math.fsum(ballot.values()) - CLOSE for ballot in ballots
        )
        for candidate in candidates
    }
    return _leader(approved)


def _cumulative(ballots: Sequence[Ballot], candidates: Sequence[str]) -> str | None:
    """Every voter has one point, and divides it as its ballot says."""
    totals = [math.fsum(ballot.values()) for ballot in ballots]
    return _leader(
        {
            candidate: math.fsum(
                ballot.get(candidate, 0.0) / total for ballot, total in zip(ballots, totals, strict=True) if total
            )
            for candidate in candidates
        }
    )


def _leader(points: Mapping[str, float]) -> str | None:
    """Who has the most; None for a tie."""
    first, *others = sorted(points, key=points.__getitem__, reverse=True)
    return first if all(points[first] - points[other] > CLOSE for other in others[:1]) else None


_RULES: Mapping[DecisionProtocol, Callable[[Sequence[Ballot], Sequence[str]], str | None]] = {
    "majority": partial(_by_quota, quota=Fraction(1, 2), or_more=False),
    "supermajority": partial(_by_quota, quota=Fraction(2, 3), or_more=True),
    "unanimity": partial(_by_quota, quota=Fraction(1), or_more=True),
    "ranked": _ranked,
    "approval": _approval,
    "cumulative": _cumulative,
}
