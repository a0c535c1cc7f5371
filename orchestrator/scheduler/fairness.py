"""The order of those who wait: keys in turn, bulk work behind, everybody within a bound.

    turns = Turns()                                            # of a host and its replicas
    waiter.ranks[turns] = turns.rank(waiter.kind, ticket=7)    # given once, on arrival; smaller ranks are served first
    queue = RankedQueue(turns)                                 # of some who wait there, in order of those ranks
    queue.add(waiter)
    queue.head, queue.ahead(waiter)
    turns.leave(waiter.kind, ticket=7, served=True)

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) at each host, its replicas together, of all who may be served there:
a tenant's n-th waiting request ranks with the n-th of the others, so that a tenant with a thousand of them, wherever else they may
go, delays another's first by one. What is served or waits at other hosts alone counts for nothing. With a single tenant the order
is that of arrival.
Bulk work comes `BULK_LAG` turns later, and each of it takes so many: it yields to that many requests of each tenant, every time,
and is never starved. Not here: which tenant a request belongs to (the gateway's key), and whether an expert has room.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

BULK_LAG = 100.0
_LAST_TICKET = sys.maxsize


class Kind(NamedTuple):
    """What takes turns: a tenant's bulk work, or what else it asks."""

    tenant: str
    bulk: bool


class Rank(NamedTuple):
    """A place in the order: the virtual time at which its turn begins, then arrival."""

    turn: float
    ticket: int


LAST = Rank(math.inf, 0)
"""Behind everybody."""


class Turns:
    """Gives ranks. The virtual time is the turn of who was served last; it begins anew when nobody waits."""

    __slots__ = ("_next", "_now", "_waiting")

    def __init__(self) -> None:
        self._now = 0.0
        self._next: dict[Kind, float] = {}  # after the last turn that was used
        self._waiting: dict[Kind, dict[int, float]] = {}  # turns by ticket, in the order of both

    def rank(self, kind: Kind, ticket: int) -> Rank:
        """Of a request that begins to wait; tickets ascend."""
        turn = self._turn(kind)
        self._waiting.setdefault(kind, {})[ticket] = turn
        return _rank(turn, kind, ticket)

    def next_rank(self, kind: Kind) -> Rank:
        """Of a request that would begin to wait now: behind those with the same turn."""
        return _rank(self._turn(kind), kind, _LAST_TICKET)

    def _turn(self, kind: Kind) -> float:
        turn = max(self._now, self._next.get(kind, 0.0))
        waiting = self._waiting.get(kind)
        return turn if waiting is None else max(turn, waiting[next(reversed(waiting))] + _length(kind))

    def leave(self, kind: Kind, ticket: int, *, served: bool) -> None:
        """It waits no more. served: here; else it gives its turn back."""
        waiting = self._waiting[kind]
        turn = waiting.pop(ticket)
        if not waiting:
            del self._waiting[kind]
        if not self._waiting:
            self._now = 0.0
            self._next.clear()
        elif served:
            self._now = max(self._now, turn)
            self._next[kind] = max(self._next.get(kind, 0.0), turn + _length(kind))


def _length(kind: Kind) -> float:
    return BULK_LAG if kind.bulk else 1.0


def _rank(turn: float, kind: Kind, ticket: int) -> Rank:
    return Rank(turn + BULK_LAG if kind.bulk else turn, ticket)


class Ranked(Protocol):
    """What is queued. ranks: by whose turns they are; there may be several hosts that could serve it."""

    ranks: dict[Turns, Rank]
    arrived: float
    kind: Kind


R = TypeVar("R", bound=Ranked)


class RankedQueue(Generic[R]):
    """Sized and iterable, in order of ranks. turns: of the hosts that serve it."""

    __slots__ = ("_counts", "_ranks", "_waiters", "turns")

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self._waiters: list[R] = []
        self._ranks: list[Rank] = []  # beside them, for bisection without a function call per step
        self._counts: Counter[Kind] = Counter()

    def __len__(self) -> int:
        return len(self._waiters)

    def __iter__(self) -> Iterator[R]:
        return iter(self._waiters)

    def __contains__(self, waiter: R) -> bool:
        return self._find(waiter) is not None

    @property
    def head(self) -> R | None:
        """Who is next."""
        return self._waiters[0] if self._waiters else None

    @property
    def oldest_at(self) -> float:
        """When the one came who has waited longest; infinity when nobody waits."""
        return min((waiter.arrived for waiter in self._waiters), default=math.inf)

    def count(self, tenant: str, *, bulk: bool) -> int:
        """How many requests of a tenant there are, of one kind."""
        return self._counts[Kind(tenant, bulk)]

    def add(self, waiter: R) -> None:
        rank = waiter.ranks[self.turns]
        at = bisect_left(self._ranks, rank)
        self._ranks.insert(at, rank)
        self._waiters.insert(at, waiter)
        self._counts[waiter.kind] += 1

    def discard(self, waiter: R) -> None:
        """It is here no more, if it was."""
        at = self._find(waiter)
        if at is None:
            return
        del self._ranks[at], self._waiters[at]
        self._counts[waiter.kind] -= 1
        if not self._counts[waiter.kind]:
            del self._counts[waiter.kind]

    def remove(self, waiter: R) -> None:
        """Raises KeyError for who isn't here."""
        if waiter not in self:
            raise KeyError(waiter.ranks[self.turns])
        self.discard(waiter)

    def clear(self) -> None:
        self._waiters.clear()
        self._ranks.clear()
        self._counts.clear()

    def ahead(self, waiter: R) -> int:
        """How many are served before it, whether it is here or would join."""
        return bisect_left(self._ranks, waiter.ranks[self.turns])

    def before(self, rank: Rank) -> int:
        """The same for who would have that rank."""
        return bisect_left(self._ranks, rank)

    def _find(self, waiter: R) -> int | None:
        at = bisect_left(self._ranks, waiter.ranks[self.turns])
        return at if at < len(self._waiters) and self._waiters[at] is waiter else None
