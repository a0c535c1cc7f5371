"""Which experts a whole set of queries may be asked of now, so that each is loaded once. Pure: no I/O, no clock, no event loop.

    waves = Waves()
    waves.begin(ticket)                      # a query is under way
    waves.take(ticket, "llama")              # True: it may ask llama now
    waves.park(ticket, {"llama"})            # it stands still until llama may be asked
    waves.open(look, settled=True)
    waves.due()                              # the tickets that go on

An expert is open while queries may ask it. Those that are in memory are opened as soon as somebody wants them, the others when
every query has been routed and what they want is known: first whom nobody can come to ask later any more, so that aggregators and
judges come last, then whom most want; as many at once as fit into memory. One is closed, for another that needs its memory, when
nobody waits for it or may come to ask it next. So an expert is loaded once, unless it is wanted on both sides of another that it
doesn't fit beside (a member of a panel that also judges what all members say), a line falls back on it later, or interactive
traffic evicts it meanwhile.

Nobody starves: while somebody waits for memory, queries that began later ask nobody who holds weights, until all that were there
have had their turn.

The idea is Symbolic-MoE's, which groups a batch by expert (arXiv 2503.05641). Not here: asking (`floor.py`, `asking.py`), and what
is really in memory, which is the scheduler's.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

AT_ONCE = 64
"""How many of these queries may be with one expert: more than it serves at once, so that it never waits for the next."""
AT_ONCE_EACH = 1000
"""The same for each replica where an expert may have several: as many as may wait for one before another is loaded."""
MOST_AT_ONCE = 8000


@dataclass(slots=True, eq=False)
class Ticket:
    """One query. asks: the hosts that it may come to ask one after the other; empty for one that asks a single expert.

    wants: those that it stands still for. reserved: those in which a place is kept for it. number: in order of beginning.
    """

    asks: frozenset[str] = frozenset()
    wants: set[str] = field(default_factory=set)
    reserved: set[str] = field(default_factory=set)
    number: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """A host as the scheduler sees it. size_bytes: None when it is not known. replicas: how many there may be."""

    resident: bool
    size_bytes: int | None
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class Seen:
    """Every host that holds weights, as it is now, and what they may use together."""

    hosts: Mapping[str, Memory]
    budget_bytes: int


Look = Callable[[], Seen]


TicketT = TypeVar("TicketT", bound=Ticket)


@dataclass(slots=True)
class _Turn(Generic[TicketT]):
    """A host. places: used are those that are taken or reserved. measured: whether it has answered since it was opened.

    was_cold: whether it had to be loaded then. later: those who wait, but not for their turn yet.
    """

    holds_weights: bool
    places: int
    is_open: bool = False
    was_cold: bool = False
    used: int = 0
    measured: bool = False
    parked: dict[TicketT, None] = field(default_factory=dict)
    later: dict[TicketT, None] = field(default_factory=dict)

    @property
    def is_busy(self) -> bool:
        return bool(self.used or self.parked)

    @property
    def is_full(self) -> bool:
        return self.used >= self.places


class Waves(Generic[TicketT]):
    """at_once: places of each host that has one replica. `stale`: something has happened since `open` was last called that may let
    it open more.

    `closed`: hosts that were loaded for these queries, and whose memory others need now.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._turns: dict[str, _Turn[TicketT]] = {}
        self._under_way: Counter[frozenset[str]] = Counter()
        self._parked: Counter[frozenset[str]] = Counter()
        self._waiting: defaultdict[frozenset[str], Counter[str]] = defaultdict(Counter)
        self._begun = 0
        self._last: float = math.inf
        """The number of the last who may ask now."""
        self.stale = False
        self.closed: list[str] = []

    def begin(self, ticket: TicketT) -> None:
        self._begun += 1
        ticket.number = self._begun
        self._under_way[ticket.asks] += 1

    def end(self, ticket: TicketT) -> None:
        """It has its answer, or is given up."""
        self._leave(ticket)
        self._under_way[ticket.asks] -= 1
        self._note_running(ticket)
        if not self._under_way[ticket.asks]:
            del self._under_way[ticket.asks]

    def take(self, ticket: TicketT, host: str, *, holds_weights: bool = True) -> bool:
        """A place to ask the host, if there is one; one that holds no weights is always open."""
        if host not in self._turns:
            self._turns[host] = _Turn(
                holds_weights, self._at_once, is_open=not holds_weights, measured=not holds_weights
            )
        turn = self._turns[host]
        if host in ticket.reserved:
            ticket.reserved.remove(host)
            return True
        if not turn.is_open or turn.is_full or (holds_weights and ticket.number > self._last):
            return False
        turn.used += 1
        return True

    def give(self, host: str) -> None:
        """The place is free again: the host has answered, or failed."""
        turn = self._turns[host]
        turn.used -= 1
        if not turn.measured:
            turn.measured = self.stale = True
        if not turn.is_busy:
            self.stale = True

    def park(self, ticket: TicketT, hosts: Iterable[str]) -> None:
        """Nothing of it is under way; it goes on when one of `hosts`, in none of which there was a place, may be asked."""
        self._release(ticket)
        ticket.wants.update(hosts)
        self._parked[ticket.asks] += 1
        self._note_running(ticket)
        for host in ticket.wants:
            turn = self._turns[host]
            self._waiting[ticket.asks][host] += 1
            if turn.holds_weights and ticket.number > self._last:
                turn.later[ticket] = None
            else:
                self.stale |= not turn.parked and not turn.is_open
                turn.parked[ticket] = None

    def due(self) -> list[TicketT]:
        """The parked tickets that go on now; in the host that each waited for, a place is reserved."""
        resumed = []
        for host, turn in self._turns.items():
            while turn.is_open and turn.parked and not turn.is_full:
                ticket = next(iter(turn.parked))
                self._leave(ticket)
                turn.used += 1
                ticket.reserved.add(host)
                resumed.append(ticket)
        return resumed

    def open(self, look: Look, *, settled: bool) -> None:
        """Open whom queries may be asked of now. settled: every query that is under way is parked, or is being answered."""
        self.stale = False
        wanted = [host for host, turn in self._turns.items() if turn.parked and not turn.is_open]
        if not wanted:
            self._let_all_ask()
            return
        seen = look()
        unknown = Memory(resident=False, size_bytes=None)
        for host in wanted:
            memory = seen.hosts.get(host, unknown)
            self._turns[host].places = self._at_once if memory.replicas == 1 else places(memory.replicas)
            if memory.resident:
                self._open(host, was_cold=False)
        if not settled:
            return
        rest = [host for host in wanted if not self._turns[host].is_open]
        sizes = {host: _size(seen.hosts.get(host, unknown)) for host, turn in self._turns.items() if turn.holds_weights}
        for host in sorted(rest, key=lambda host: (self._may_come(host), -len(self._turns[host].parked))):
            if not self._make_room(sizes[host], sizes, seen.budget_bytes):
                self._last = min(self._last, self._begun)
                return
            self._open(host, was_cold=True)
        self._let_all_ask()

    def _let_all_ask(self) -> None:
        """Nobody waits for memory: those who came later have their turn."""
        self._last = math.inf
        for turn in self._turns.values():
            self.stale |= bool(turn.later)
            turn.parked.update(turn.later)
            turn.later.clear()

    @property
    def opened(self) -> list[str]:
        """Those who hold weights and may be asked now."""
        return [host for host, turn in self._turns.items() if turn.holds_weights and turn.is_open]

    def _open(self, host: str, *, was_cold: bool) -> None:
        turn = self._turns[host]
        turn.is_open, turn.measured, turn.was_cold = True, False, was_cold

    def _make_room(self, size: float, sizes: Mapping[str, float], budget_bytes: int) -> bool:
        """Whether a host of that size fits beside those that are busy; it closes idle ones, the least likely first."""
        opened = self.opened
        busy = [host for host in opened if self._turns[host].is_busy or self._is_coming(host)]
        used = size + sum(sizes[host] for host in busy)
        if busy and used > budget_bytes:
            return False
        idle = (host for host in opened if host not in busy)
        for host in sorted(idle, key=self._may_come, reverse=True):
            if used + sizes[host] <= budget_bytes:
                used += sizes[host]
            else:
                self._close(host)
        return True

    def _close(self, host: str) -> None:
        turn = self._turns[host]
        turn.is_open = False
        if turn.was_cold:
            self.closed.append(host)

    def _may_come(self, host: str) -> int:
        """How many queries may come to ask the host that don't wait for it now."""
        groups: Iterable[frozenset[str]] = (asks for asks in self._under_way if host in asks)
        return sum(self._under_way[asks] - self._waiting[asks][host] for asks in groups)

    def _is_coming(self, host: str) -> bool:
        """Whether one of the queries that are not parked may come to ask the host next."""
        return any(host in asks and count > self._parked[asks] for asks, count in self._under_way.items())

    def _note_running(self, ticket: TicketT) -> None:
        self.stale |= bool(ticket.asks) and self._under_way[ticket.asks] == self._parked[ticket.asks]

    def _leave(self, ticket: TicketT) -> None:
        """Out of every queue and place."""
        self._release(ticket)
        self._parked[ticket.asks] -= bool(ticket.wants)
        for host in ticket.wants:
            turn = self._turns[host]
            (turn.parked if ticket in turn.parked else turn.later).pop(ticket)
            self._waiting[ticket.asks][host] -= 1
            self.stale |= not turn.is_busy
        ticket.wants.clear()

    def _release(self, ticket: TicketT) -> None:
        for host in ticket.reserved:
            self.give(host)
        ticket.reserved.clear()


def places(replicas: int) -> int:
    """How many queries may be with an expert at once that has several replicas."""
    return min(AT_ONCE_EACH * replicas, MOST_AT_ONCE)


def _size(memory: Memory) -> float:
    return math.inf if memory.size_bytes is None else memory.size_bytes
