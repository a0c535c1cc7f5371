"""A verdict in words, for people who didn't read the statistics.

sentences(verdict, Names(("small", "large"), ("law", "math")), delta=0.05, about="all queries like these")
# ("best: large", "this is about all queries like these, and what is decided is wrong at most 5 times in 100")
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evals.active.base import Crossing, Verdict

SHOWN = 5
"""Crossings that are told one by one."""


@dataclass(frozen=True, slots=True)
class Names:
    """By number: the experts, and the groups of the problem."""

    experts: Sequence[str]
    groups: Sequence[str]


def sentences(verdict: Verdict, names: Names, *, delta: float, about: str) -> tuple[str, ...]:
    """Lines. about: the queries that the verdict is about, as a phrase."""
    found = _ranking(verdict, names) if verdict.goal == "ranking" else _best(verdict, names)
    sure = f"this is about {about}, and what is decided is wrong at most {100 * delta:g} times in 100"
    return (*crossing_sentences(verdict.crossings, names), *found, sure)


def crossing_sentences(crossings: Sequence[Crossing], names: Names) -> Iterator[str]:
    """Which experts no order holds of: where they cross, a router may earn more than any single expert."""
    if crossings:
        yield "no order of these experts holds in every group, so the best one of each group is what counts:"
    for crossing in crossings[:SHOWN]:
        first, second = names.experts[crossing.first], names.experts[crossing.second]
        better, worse = names.groups[crossing.better_in], names.groups[crossing.worse_in]
        yield f"  {first} is better than {second} in {better}, and worse in {worse}"
    if len(crossings) > SHOWN:
        yield f"  and {len(crossings) - SHOWN} more pairs cross"


def _best(verdict: Verdict, names: Names) -> Iterator[str]:
    where = [f" in {group}" for group in names.groups] if verdict.goal == "best-by-group" else [""]
    for place, standing in zip(where, verdict.standing, strict=True):
        experts = ", ".join(names.experts[expert] for expert in standing)
        yield (
            f"best{place}: {experts}"
            if len(standing) == 1
            else f"best{place}: not decided yet, still in the race: {experts}"
        )


def _ranking(verdict: Verdict, names: Names) -> Iterator[str]:
    order = " > ".join(names.experts[expert] for expert in verdict.ranking)
    yield f"ranking: {order}" if verdict.decided else f"ranking: not decided yet, as far as is known: {order}"
    if verdict.unsettled:
        pairs = (f"{names.experts[first]} and {names.experts[second]}" for first, second in verdict.unsettled)
        yield f"not told apart yet: {', '.join(pairs)}"
    if verdict.one_order and len(names.groups) > 1:
        yield "this takes for granted that of two experts one is at least as good in every group; nothing seen contradicts it"
