"""The order of those who wait: keys in turn, bulk work behind, everybody within a bound.

    turns = Turns()
    rank = turns.rank(tenant="shop", bulk=False, ticket=7)     # given once, on arrival; smaller ranks are served first, anywhere
    queue.add(waiter)                                          # an expert's queue, in order of ranks
    queue.head, queue.ahead(waiter)

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) over all experts together: a tenant's n-th waiting request ranks with
the n-th of the others, so that a tenant with a thousand of them delays another's first by one. With a single tenant the order is
that of arrival. Bulk work ranks `BULK_LAG` requests later: it yields to so many of each tenant's, and is never starved. Not here:
which tenant a request belongs to (the gateway's key), and whether an expert has room.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

BULK_LAG = 100.0


class Rank(NamedTuple):
    """A place in the order: the virtual time at which its turn begins, then arrival."""

    turn: float
    ticket: int


class Turns:
    """Gives ranks. The virtual time is the earliest turn of those who wait and are not bulk work."""

    __slots__ = ("_next", "_now", "_turns", "_waiting")

    def __init__(self) -> None:
        self._now = 0.0
        self._next: defaultdict[tuple[str, bool], float] = defaultdict(float)
        self._turns: list[Rank] = []
        self._waiting: set[int] = set()

    def rank(self, tenant: str, *, bulk: bool, ticket: int) -> Rank:
        """Of a request that begins to wait; tickets ascend."""
        if not self._waiting:
            self._next.clear()
            self._turns.clear()
            self._now = 0.0
        turn = max(self._now, self._next[tenant, bulk])
        self._next[tenant, bulk] = turn + 1.0
        self._waiting.add(ticket)
        if bulk:
            return Rank(turn + BULK_LAG, ticket)
        rank = Rank(turn, ticket)
        heapq.heappush(self._turns, rank)
        return rank

    def leave(self, ticket: int) -> None:
        """It waits no more."""
        self._waiting.discard(ticket)
        while self._turns and self._turns[0].ticket not in self._waiting:
            heapq.heappop(self._turns)
        if self._turns:
            self._now = max(self._now, self._turns[0].turn)


class Ranked(Protocol):
    """What is queued."""

    rank: Rank
    arrived: float
    tenant: str
    bulk: bool


R = TypeVar("R", bound=Ranked)


class RankedQueue(Generic[R]):
    """Sized and iterable, in order of ranks."""

    __slots__ = ("_counts", "_ranks", "_waiters")

    def __init__(self) -> None:
        self._waiters: list[R] = []
        self._ranks: list[Rank] = []  # beside them, for bisection without a function call per step
        self._counts: Counter[tuple[str, bool]] = Counter()

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
        return self._counts[tenant, bulk]

    def add(self, waiter: R) -> None:
        at = bisect_left(self._ranks, waiter.rank)
        self._ranks.insert(at, waiter.rank)
        self._waiters.insert(at, waiter)
        self._counts[waiter.tenant, waiter.bulk] += 1

    def discard(self, waiter: R) -> None:
        """It is here no more, if it was."""
        at = self._find(waiter)
        if at is None:
            return
        del self._ranks[at], self._waiters[at]
        kind = waiter.tenant, waiter.bulk
        self._counts[kind] -= 1
        if not self._counts[kind]:
            del self._counts[kind]

    def remove(self, waiter: R) -> None:
        """Raises KeyError for who isn't here."""
        if waiter not in self:
            raise KeyError(waiter.rank)
        self.discard(waiter)

    def clear(self) -> None:
        self._waiters.clear()
        self._ranks.clear()
        self._counts.clear()

    def ahead(self, waiter: R) -> int:
        """How many are served before it, whether it is here or would join."""
        return bisect_left(self._ranks, waiter.rank)

    def _find(self, waiter: R) -> int | None:
        at = bisect_left(self._ranks, waiter.rank)
        return at if at < len(self._waiters) and self._waiters[at] is waiter else None
