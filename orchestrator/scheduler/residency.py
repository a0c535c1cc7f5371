"""Who is in one node's memory: whose load begins, who leaves for it, how long that will take. A part of `core.py`; pure.

    residency.wanted.want(host, now)
    plan = residency.plan(now)              # puts Load, Stop, Sleep and Wake actions into the outbox

What it keeps to. The memory of all hosts that are not cold is never more than the budget (a server that turns out larger than
declared is the exception: room is made at once). Nothing leased is stopped, except by `close`. Who has been wanted longest is
loaded first, but for what `rules.py` adds for the number of its waiters. Idle hosts are evicted as soon as somebody needs their
memory, busy ones when the rules say so: then they drain, that is, take no new leases, end those they have, and stop, or fall asleep
where their server can (`sleeping.py`). The room is for whom it was made, but for what it won't need. While an overdue host can't be
helped, nobody behind it is loaded. When nobody waits for a load, a cold host may be chosen for what it is worth (`worth.py`).

So nobody starves. With reloads of at most R seconds, leases of D, S seconds to stop a server (or to stop those that sleep, and put
it to sleep) and stays of Q = max(MAX_STAY R, SHORTEST_STAY_S), a host that n others may keep from being loaded is ready within

    (MAX_STAY + 8) R + D + S + n (Q + D + S + R)

however busy they are, and its oldest waiters are served at once. A host that is evicted is wanted since MAX_STAY R before that at
the earliest, and a thousand batches count for ln 1001 < 7 reloads: who is evicted (MAX_STAY + 7) R after it was wanted, or later,
goes behind it. By then one may just be leaving, which takes D + S, and each of the n may still have a turn: a load, a stay, the
last leases and a stop. Then comes its own load. (Bulk work comes BULK_AFTER_S later.) Of several replicas this holds for each, and
whoever waits for one moves to another only where it expects to be served sooner.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.scheduler.actions import Outbox
from orchestrator.scheduler.base import NodeMemory
from orchestrator.scheduler.residents import Residents
from orchestrator.scheduler.room import Room
from orchestrator.scheduler.rules import MIN_STAY, STOP_S, Rules, does_not_fit, pick_victims
from orchestrator.scheduler.state import Host
from orchestrator.scheduler.wanted import Wanted
from orchestrator.scheduler.worth import Worth

LOOKED_AT = 64
"""How many of those that could be loaded now are considered in one plan."""


@dataclass(slots=True)
class Plan:
    """What planning changed beyond its actions: hosts that drain now, whose draining was called off, that can never fit."""

    drained: list[Host] = field(default_factory=list)
    restored: list[Host] = field(default_factory=list)
    impossible: list[tuple[Host, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.drained or self.restored or self.impossible)


class Residency:
    """Decides; what that does to a host is done by `residents`. worth: of the whole fleet."""

    def __init__(self, node: str, memory: NodeMemory, worth: Worth, outbox: Outbox, rules: Rules) -> None:
        self.node = node
        self.wanted = Wanted(node, outbox)
        self.residents = Residents(memory.budget_bytes, memory.asleep_budget_bytes, self.wanted, outbox, rules)
        self._worth = worth
        self._outbox = outbox
        self._rules = rules
        self._first: Host | None = None  # of those wanted, who waits for memory

    def wait_s(self, host: Host, now: float) -> float:
        """Expected seconds until a host that isn't ready will be."""
        if host.state == "loading":
            return _until_s(host.since + host.reload_s, now)
        if host.state == "falling_asleep":
            return _until_s(host.since + host.sleep_s.value, now) + host.reload_s
        if host.state == "draining":
            gone_s = host.sleep_s.value if host.to_sleep else STOP_S
            leaving_s = gone_s + (host.service_s.value if host.leases else 0.0)
            taken_s = 0.0 if host.draining_for is None else self.wanted.turn_s.value
            return leaving_s + taken_s + host.reload_s
        return max(0.0, host.not_before - now) + self._room_wait_s(host) + host.reload_s

    def _room_wait_s(self, host: Host) -> float:
        short = host.memory_bytes - self.residents.free_bytes
        if short <= 0:
            return 0.0
        turn_s = self.wanted.turn_s.value
        if others := len(self.wanted) - (host in self.wanted):
            return turn_s * (1 + others)
        return STOP_S if short <= self.residents.idle_bytes else turn_s

    def plan(self, now: float) -> Plan:
        """Start what loads can be started, and make room for the others where that is due."""
        plan = Plan()
        self._outbox.news.pop(self.node, None)
        self._call_off(plan, now)
        self._first = None
        room = Room.of(self.residents.hosts, self.residents.budget_bytes)
        helpless = math.inf  # the least that somebody needs for whom nobody leaves
        for host in self._in_order(room.most, now):
            size = host.memory_bytes
            if size > room.most:
                plan.impossible.append((host, does_not_fit(host, room.most)))
            elif room.holds(size):
                self.residents.load(host, now)
                room.take(size)
            else:
                if size < helpless and room.short(size) > 0:
                    self._make_room(host, room, plan, now)
                if room.reserve(size):  # its memory is on the way
                    continue
                self._first = self._first or host
                if self._is_overdue(host, now) or room.free <= 0:
                    break
                helpless = min(helpless, size)
        if not self.wanted:
            self._choose(plan, now)
        return plan

    def _call_off(self, plan: Plan, now: float) -> None:
        """Hosts that still serve, but drain for somebody who doesn't need it any more, stay, unless memory is over the budget."""
        draining = [host for host in self.residents.hosts if host.draining_for is not None and not host.stopping]
        plan.restored = [host for host in draining if host.draining_for not in self.wanted.since]
        for host in plan.restored:
            self.residents.restore(host, now)
        if plan.restored:
            plan.drained += self.residents.shrink(now)

    def _in_order(self, most_bytes: int, now: float) -> Iterator[Host]:
        """Who could be loaded now: first those for whom room was made. Who is wanted may change meanwhile."""
        promised, wanted = self.wanted.promised.copy(), self.wanted.since.copy()
        for host in promised:
            if self._can_load(host, most_bytes, now):
                yield host
        left = LOOKED_AT
        for host in self._rules.load_order(wanted, now):
            if host not in promised and self._can_load(host, most_bytes, now):
                yield host
                left -= 1
                if not left:
                    return

    def _can_load(self, host: Host, most_bytes: int, now: float) -> bool:
        """Whether nothing but memory could be in the way. Who can't ever fit hears that at once."""
        if not host.loadable or host.predecessor is not None:
            return False
        if host.not_before > now and host.memory_bytes <= most_bytes:
            self._outbox.wake_at(host.not_before, host)
            return False
        return True

    def _make_room(self, host: Host, room: Room, plan: Plan, now: float) -> None:
        """Drain those who give way to it, if that is enough."""
        for victim in self._victims(room.short(host.memory_bytes), host, now):
            self._evict(victim, host, plan, now)
            self.wanted.promised[host] = None
            room.coming += victim.memory_bytes

    def _evict(self, victim: Host, wanted: Host, plan: Plan, now: float) -> None:
        self.residents.drain(victim, now, room_for=wanted, to_sleep=True)
        plan.drained.append(victim)

    def _victims(self, short: int, wanted: Host, now: float) -> tuple[Host, ...]:
        """Who gives way now so that `short` bytes come free."""
        leaving = []
        for host in self.residents.hosts:
            if host.state == "loading" and host.prefetched and not host.queued and not host.waking:
                leaving.append(host)
                continue
            if host.state != "ready" or host.pinned:
                continue
            if (at := self._rules.leaves_at(host, wanted, now)) <= now:
                leaving.append(host)
            else:
                self._outbox.wake_at(at, host)
        return pick_victims(sorted(leaving, key=lambda host: self._rules.eviction_key(host, now)), short)

    def _is_overdue(self, host: Host, now: float) -> bool:
        due = self.wanted.since[host] + MIN_STAY * host.reload_s
        if due > now:
            self._outbox.wake_at(due, host)
        return due <= now

    def leaves(self, host: Host, now: float) -> bool:
        """Something happened to a host that is ready: whether it gives way now to whoever is next, so that it is time to plan."""
        wanted = self._first
        if wanted is None or wanted not in self.wanted or host.pinned:
            return False
        at = self._rules.leaves_at(host, wanted, now)
        if at > now:
            self._outbox.wake_at(at, host)
        return at <= now

    # Whom nobody waits for

    def _choose(self, plan: Plan, now: float) -> None:
        """Load a cold host where there is room, or where it is worth more than those that must go for it."""
        residents = self.residents
        changing = any(host.state != "ready" for host in residents.hosts)
        if changing and residents.free_bytes <= 0:
            return
        most = Room.of(residents.hosts, residents.budget_bytes).most
        for challenger in self._worth.challengers(self.node, now):
            if challenger.dismissed or challenger.memory_bytes > most or challenger.at_hand_elsewhere:
                continue
            if not self._can_load(challenger, most, now):
                continue
            short = challenger.memory_bytes - residents.free_bytes
            if short <= 0:
                residents.load(challenger, now)
            elif victims := self._beaten(challenger, short, now):
                challenger.chosen = True
                self.wanted.want(challenger, now)
                self._worth.exchange(challenger, victims, now)
                for victim in victims:
                    self._evict(victim, challenger, plan, now)
                return

    def _beaten(self, challenger: Host, short: int, now: float) -> tuple[Host, ...]:
        """Who would make room for it, if that is worth it."""
        hosts, worth = self.residents.hosts, self._worth
        if any(host.state != "ready" for host in hosts):
            return ()
        lost_s = {host: worth.lost_s(host, challenger, now) for host in hosts if not host.pinned}
        victims = pick_victims(sorted(lost_s, key=lambda host: lost_s[host] / max(host.memory_bytes, 1)), short)
        cost_s = worth.disruption_s(challenger, now) + sum(lost_s[host] for host in victims)
        return victims if challenger.worth.at(now) > cost_s else ()

    @property
    def fullness(self) -> float:
        """The part of the budget that is in use."""
        residents = self.residents
        return residents.used_bytes / max(residents.budget_bytes, 1)

    @property
    def spare_bytes(self) -> int | None:
        """Memory for loads ahead of demand; None while somebody waits for a load."""
        if self.wanted or any(host.state == "loading" for host in self.residents.hosts):
            return None
        return self.residents.free_bytes


def _until_s(due: float, now: float) -> float:
    """What is overdue is expected to take as long again as it is overdue."""
    return abs(due - now)
