"""The queue of one expert: interactive before bulk, and within each the tenants in turn.

    queue = FairQueue()
    queue.add(waiter)
    queue.head                      # who is next
    queue.remove(waiter, served=True)

Round robin over tenants (Nagle, "On Packet Switches With Infinite Storage", RFC 970, 1985): each has a line in order of arrival, a
served tenant goes behind the others, and one who comes anew takes the last turn. So a tenant with a thousand requests delays
another's first by one, and with a single tenant the order is that of arrival. Not here: which tenant a request belongs to (the
gateway's key), and whether an expert has room.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import chain, zip_longest
from operator import attrgetter
from typing import Generic, Protocol, TypeVar

_by_ticket = attrgetter("ticket")


class Queued(Protocol):
    """What is queued. Tickets are in order of arrival."""

    ticket: int
    arrived: float
    tenant: str
    bulk: bool


Q = TypeVar("Q", bound=Queued)


class FairQueue(Generic[Q]):
    """Sized and iterable, in the order in which they would be served if nobody else came."""

    __slots__ = ("_bulk", "_interactive", "_size")

    def __init__(self) -> None:
        self._interactive: dict[str, list[Q]] = {}
        self._bulk: dict[str, list[Q]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Q]:
        return chain(_in_turn(self._interactive), _in_turn(self._bulk))

    @property
    def head(self) -> Q | None:
        """Who is next."""
        for lines in (self._interactive, self._bulk):
            for line in lines.values():
                return line[0]
        return None

    @property
    def oldest_at(self) -> float:
        """When the one came who has waited longest; infinity when nobody waits."""
        return min((line[0].arrived for lines in (self._interactive, self._bulk) for line in lines.values()), default=math.inf)

    @property
    def interactive(self) -> int:
        """How many of them are not bulk work."""
        return self._size - sum(map(len, self._bulk.values())) if self._bulk else self._size

    def add(self, waiter: Q) -> None:
        """In its tenant's line it goes behind those who came earlier."""
        insort(self._lines(waiter).setdefault(waiter.tenant, []), waiter, key=_by_ticket)
        self._size += 1

    def remove(self, waiter: Q, *, served: bool = False) -> None:
        """served: its tenant has had its turn. Raises KeyError for who isn't here."""
        lines = self._lines(waiter)
        line = lines[waiter.tenant]
        at = bisect_left(line, waiter.ticket, key=_by_ticket)
        if at == len(line) or line[at] is not waiter:
            raise KeyError(waiter.ticket)
        del line[at]
        self._size -= 1
        if served or not line:
            del lines[waiter.tenant]
            if line:
                lines[waiter.tenant] = line

    def ahead(self, waiter: Q) -> int:
        """How many of those who are here now are served before it, whether it is here or would join."""
        lines = self._lines(waiter)
        own = lines.get(waiter.tenant, ())
        before = place = bisect_left(own, waiter.ticket, key=_by_ticket)
        if len(lines) > 1 or not own:
            earlier = True
            for tenant, line in lines.items():
                if tenant == waiter.tenant:
                    earlier = False
                else:
                    before += min(len(line), place + earlier)
        return before + self.interactive if waiter.bulk else before

    def _lines(self, waiter: Q) -> dict[str, list[Q]]:
        return self._bulk if waiter.bulk else self._interactive


def _in_turn(lines: dict[str, list[Q]]) -> Iterator[Q]:
    """The first of every line, then the second of every line, and so on."""
    if len(lines) == 1:
        return iter(next(iter(lines.values())))
    rounds = zip_longest(*lines.values())
    return (waiter for turn in rounds for waiter in turn if waiter is not None)
