"""Which hosts are in memory: loads, evictions and the budget. A part of the state machine in `core.py`; pure like it.

    residency.want(host)
    plan = residency.plan(now)              # puts Load, Stop, Sleep and Wake actions into the outbox

What it keeps to. The memory of all hosts that are not cold is never more than the budget (a server that turns out larger than
declared is the exception: room is made at once). Nothing leased is stopped, except by `close`. Who has been wanted longest is
loaded first, but for what `rules.py` adds for the number of its waiters. Idle hosts are evicted as soon as somebody needs their
memory, busy ones when the rules say so: then they drain, that is, take no new leases, end those they have, and stop, or fall asleep
where their server can (`sleeping.py`). The room is for whom it was made. While an overdue host can't be helped, nobody behind it is
loaded. When nobody waits for a load, a cold host may be chosen for what it is worth (`worth.py`).

So nobody starves. With reloads of at most R seconds, leases of D, S seconds to stop a server (or to stop those that sleep, and put
it to sleep) and stays of Q = max(MAX_STAY R, SHORTEST_STAY_S), a host that one of n others keeps from being loaded is ready within
(MAX_STAY + 7) R + n (Q + D + S + R), however busy they are, and its oldest waiters are served at once: a host that is evicted is
wanted since MAX_STAY R before that at the earliest, a thousand batches count for ln 1001 < 7 reloads, so later than that everybody
goes behind it who has had a turn, and a turn takes no longer than a stay, the last leases, a stop and a load. (Bulk work comes
BULK_AFTER_S later.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import itemgetter

from orchestrator.scheduler.prefetch import Prefetcher
from orchestrator.scheduler.rules import (
    MAX_STAY,
    MIN_STAY,
    STOP_S,
    Rules,
    assumed_wake_s,
    backoff_s,
    does_not_fit,
    pick_victims,
)
from orchestrator.scheduler.sleeping import Sleepers
from orchestrator.scheduler.state import Average, Host, Load, Outbox, Sleep, Stop, Wake
from orchestrator.scheduler.worth import Worth
from orchestrator.types import Endpoint

LOOKED_AT = 64
"""How many of those wanted are considered in one plan."""
WOKEN_WEIGHT = 0.2
NOT_COUNTED = -1


@dataclass(slots=True)
class Plan:
    """What planning changed beyond its actions: hosts that drain now, whose draining was called off, that can never fit."""

    drained: list[Host] = field(default_factory=list)
    restored: list[Host] = field(default_factory=list)
    impossible: list[tuple[Host, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.drained or self.restored or self.impossible)


class Residency:
    """`resident` are the hosts that take memory: loading, ready, draining or falling asleep."""

    def __init__(self, budget_bytes: int, asleep_budget_bytes: int, outbox: Outbox, rules: Rules) -> None:
        self.budget_bytes = budget_bytes
        self.sleepers = Sleepers(asleep_budget_bytes)
        self._rules = rules
        self.resident: dict[Host, None] = {}
        self.worth = Worth()
        self._turn_s = Average(MIN_STAY)  # between two loads while others are wanted
        self._loaded_at = -math.inf
        self._wanted: dict[Host, float] = {}
        self._counted, self._free_bytes = NOT_COUNTED, 0  # free when so many were resident
        self._perhaps_idle: dict[Host, None] = {}  # all that are idle are among these
        self.has_news = False  # somebody is wanted who wasn't before
        self._promised: dict[Host, None] = {}  # for whom others have made room
        self._first: Host | None = None  # of those wanted, who waits for memory
        self._outbox = outbox

    @property
    def used_bytes(self) -> int:
        return sum(host.memory_bytes for host in self.resident)

    @property
    def alive(self) -> dict[Host, None]:
        """Every host that has a server."""
        return self.resident | self.sleepers.hosts

    def want(self, host: Host, now: float) -> None:
        """Somebody waits for a host that isn't ready. It is wanted from the first such call until it is loaded.

        Who was left behind when it was last evicted counts from its arrival, but for the longest stay of a resident at most: so
        nobody is overtaken for ever by one that always leaves somebody behind.
        """
        host.dismissed = False
        if host in self._wanted or host.at_hand:
            return
        arrived = min((expert.queue.oldest_at for expert in host.experts), default=now)
        self.has_news = True
        self._outbox.wanted[host] = None
        since = host.wanted_since = min(now, max(arrived, now - MAX_STAY * host.reload_s))
        out_of_order = bool(self._wanted) and since < next(reversed(self._wanted.values()))
        self._wanted[host] = since
        if out_of_order:
            self._wanted = dict(sorted(self._wanted.items(), key=itemgetter(1)))

    def unwant(self, host: Host) -> None:
        """Nobody waits for it any more."""
        self._perhaps_idle[host] = None
        if not host.chosen and self._wanted.pop(host, None) is not None:
            self._promised.pop(host, None)
            self.has_news = True  # what was done for it may be called off

    def forget(self, host: Host) -> None:
        """Nobody can ask for it any more, or it can't be loaded: it is not chosen either."""
        host.chosen = False
        if not host.queued:
            self.unwant(host)

    def is_wanted(self, host: Host) -> bool:
        """Whether it is to be loaded already."""
        return host in self._wanted

    def wait_s(self, host: Host, now: float) -> float:
        """Expected seconds until a host that isn't ready will be."""
        if host.state == "loading":
            return max(0.0, host.since + host.reload_s - now)
        if host.state == "falling_asleep":
            return max(0.0, host.since + host.sleep_s.value - now) + host.reload_s
        if host.state == "draining":
            gone_s = host.sleep_s.value if host.to_sleep else STOP_S
            leaving_s = gone_s + (host.service_s.value if host.leases else 0.0)
            taken_s = 0.0 if host.draining_for is None else self._turn_s.value
            return leaving_s + taken_s + host.reload_s
        return max(0.0, host.not_before - now) + self._room_wait_s(host) + host.reload_s

    @property
    def _leaving_bytes(self) -> int:
        """What comes free without anybody's doing."""
        return sum(h.memory_bytes for h in self.resident if h.state in {"draining", "falling_asleep"})

    def _room_wait_s(self, host: Host) -> float:
        if self._counted != len(self.resident):
            self._counted, self._free_bytes = len(self.resident), self.budget_bytes - self.used_bytes
        short = host.memory_bytes - self._free_bytes
        if short <= 0:
            return 0.0
        if others := len(self._wanted) - (host in self._wanted):
            return self._turn_s.value * (1 + others)
        return STOP_S if short <= self._idle_bytes() else self._turn_s.value

    def _idle_bytes(self) -> int:
        """What could be evicted without anybody's noticing."""
        for host in [host for host in self._perhaps_idle if not host.idle]:
            del self._perhaps_idle[host]
        return sum(host.memory_bytes for host in self._perhaps_idle if not host.pinned)

    def plan(self, now: float) -> Plan:
        """Start what loads can be started, and make room for the others where that is due."""
        plan = Plan()
        self.has_news = False
        self._call_off(plan)
        self._first = None
        free = self.budget_bytes - self.used_bytes
        coming = self._leaving_bytes
        room = self._most_room()
        helpless = math.inf  # the least that somebody needs for whom nobody leaves
        order = chain(tuple(self._promised), islice(self._rules.load_order(self._wanted, now), LOOKED_AT))
        for host in dict.fromkeys(order):
            if host not in self._wanted or not host.loadable or not self._may_load(host, room, plan, now):
                continue
            if host.memory_bytes <= free:
                self._load(host, now)
                free -= host.memory_bytes
                continue
            short = host.memory_bytes - free - coming
            for victim in self._victims(short, host, now) if host.memory_bytes < helpless else ():
                self.drain(victim, now, room_for=host, to_sleep=True)
                plan.drained.append(victim)
                self._promised[host] = None
                coming += victim.memory_bytes
                short -= victim.memory_bytes
            if short <= 0:  # its memory is on the way
                coming -= max(0, min(coming, host.memory_bytes - max(free, 0)))
                free = min(free, 0)
                continue
            if self._first is None:
                self._first = host
            if self._is_overdue(host, now):
                break
            if free <= 0:
                break
            helpless = min(helpless, host.memory_bytes)
        if not self._wanted:
            self._choose(plan, now)
        return plan

    def leaves(self, host: Host, now: float) -> bool:
        """Something happened to a resident: whether it gives way now to whoever is next, so that it is time to plan."""
        wanted = self._first
        if wanted is None or wanted not in self._wanted or host.state != "ready" or host.pinned:
            return False
        at = self._rules.leaves_at(host, wanted, now)
        if at > now:
            self._outbox.wake_at(at, host)
        return at <= now

    def _choose(self, plan: Plan, now: float) -> None:
        """Load a cold host where there is room, or where it is worth more than those that must go for it."""
        if any(host.state != "ready" for host in self.resident) and self.used_bytes >= self.budget_bytes:
            return
        room = self._most_room()
        for challenger in self.worth.challengers(now):
            if challenger.dismissed or challenger.memory_bytes > room:
                continue
            if not self._may_load(challenger, room, plan, now):
                continue
            short = challenger.memory_bytes - (self.budget_bytes - self.used_bytes)
            if short <= 0:
                self._load(challenger, now)
            elif victims := self._beaten(challenger, short, now):
                challenger.chosen = True
                self.want(challenger, now)
                self.worth.exchange(challenger, victims, now)
                for victim in victims:
                    self.drain(victim, now, room_for=challenger, to_sleep=True)
                    plan.drained.append(victim)
                return

    def _beaten(self, challenger: Host, short: int, now: float) -> tuple[Host, ...]:
        """Who would make room for it, if that is worth it."""
        if any(host.state != "ready" for host in self.resident):
            return ()
        worth = self.worth
        lost_s = {host: worth.lost_s(host, challenger, now) for host in self.resident if not host.pinned}
        victims = pick_victims(sorted(lost_s, key=lambda host: lost_s[host] / max(host.memory_bytes, 1)), short)
        cost_s = worth.disruption_s(challenger, now) + sum(lost_s[host] for host in victims)
        return victims if challenger.worth.at(now) > cost_s else ()

    def _call_off(self, plan: Plan) -> None:
        """Hosts that still serve, but drain for somebody who doesn't need it any more, stay."""
        for host in self.resident:
            wanted = host.draining_for
            if wanted is not None and not host.stopping and wanted not in self._wanted:
                host.enter("ready")
                self._perhaps_idle[host] = None
                self._wanted.pop(host, None)
                self._promised.pop(host, None)
                plan.restored.append(host)

    def _may_load(self, host: Host, room: int, plan: Plan, now: float) -> bool:
        if host.predecessor is not None:
            return False
        if host.memory_bytes > room:
            plan.impossible.append((host, does_not_fit(host, room)))
            return False
        if host.not_before > now:
            self._outbox.wake_at(host.not_before, host)
            return False
        return True

    def _most_room(self, host: Host | None = None) -> int:
        """What it, or whoever is not resident, could have if everybody who can be evicted were."""
        return self.budget_bytes - sum(h.memory_bytes for h in self.resident if h.pinned and h is not host)

    def _is_overdue(self, host: Host, now: float) -> bool:
        due = self._wanted[host] + MIN_STAY * host.reload_s
        if due > now:
            self._outbox.wake_at(due, host)
        return due <= now

    def _victims(self, short: int, wanted: Host, now: float) -> tuple[Host, ...]:
        """Who gives way now so that `short` bytes come free."""
        if short <= 0:
            return ()
        leaving = []
        for host in self.resident:
            if host.state == "loading" and host.prefetched and not host.queued and not host.waking:
                leaving.append(host)
                continue
            if host.state != "ready" or host.pinned:
                continue
            if (at := self._rules.leaves_at(host, wanted, now)) <= now:
                leaving.append(host)
            else:
                self._outbox.wake_at(at, host)
        return pick_victims(self._by_key(leaving, now), short)

    def _by_key(self, hosts: Iterable[Host], now: float) -> list[Host]:
        return sorted(hosts, key=lambda host: self._rules.eviction_key(host, now))

    def prefetch(self, hosts: Iterable[Host], prefetcher: Prefetcher, now: float) -> None:
        """Load who will be asked soon, if there is memory to spare and nobody waits for a load."""
        if self._wanted or any(host.state == "loading" for host in self.resident):
            return
        host = prefetcher.pick(hosts, self.budget_bytes - self.used_bytes, now)
        if host is not None:
            self._load(host, now)
            host.prefetched = True

    def _load(self, host: Host, now: float) -> None:
        asleep = host.state == "asleep"
        host.enter("loading")
        host.waking = asleep
        host.since = now
        host.generation += 1
        if host.loads and host.can_sleep:
            host.woken += WOKEN_WEIGHT * (asleep - host.woken)
        host.loads += 1
        self.resident[host] = None
        self._counted = NOT_COUNTED
        host.chosen = False
        self._promised.pop(host, None)
        waited_since = self._wanted.pop(host, now)
        if waited_since < now:
            self._turn_s.add(now - max(self._loaded_at, waited_since))
        self._loaded_at = now
        self._outbox.actions.append(Wake(host) if asleep else Load(host))

    def drain(self, host: Host, now: float, *, room_for: Host | None = None, to_sleep: bool = False) -> None:
        """Give no new leases; stop when there are none. Only a drain with `room_for` can be called off.

        to_sleep: fall asleep rather than stop, if the server can and there is room.
        """
        if host.state in {"cold", "remote"}:
            return
        if host.state in {"ready", "loading"}:
            serving = host.state == "ready"
            host.enter("draining")
            host.draining_for = room_for if serving else None
            host.to_sleep = to_sleep and serving
        elif room_for is None:
            host.draining_for = None
            host.to_sleep &= to_sleep
        if host.queued:
            self.want(host, now)
        if not host.leases:
            self._leave(host, now)

    def _leave(self, host: Host, now: float) -> None:
        """Nobody has a lease on it any more: it falls asleep, once there is room, or stops."""
        if host.stopping:
            return
        stopped = self.sleepers.stopped_for(host, now) if host.to_sleep else None
        if stopped is None:
            self.stop(host)
            return
        for sleeper in stopped:
            self.stop(sleeper)
        if self.sleepers.fits(host):
            host.enter("falling_asleep")
            host.since = now
            self.sleepers.hosts[host] = None
            self._outbox.actions.append(Sleep(host))

    def stop(self, host: Host) -> None:
        """Tell its server to end, once."""
        if not host.stopping:
            host.stopping = True
            self._outbox.actions.append(Stop(host))

    def loaded(self, host: Host, endpoint: Endpoint, memory_bytes: int, now: float) -> list[Host]:
        """Its server is ready. Learns what it takes; returns whom that makes drain."""
        if host.waking:
            host.wake_s.add(now - host.since)
            self._awake(host, now)
        else:
            host.load_s.add(now - host.since)
            host.wake_s.assume(assumed_wake_s(host.load_s.value))
            host.measured_bytes = memory_bytes
            host.memory_bytes = max(host.place.memory_bytes or 0, memory_bytes) or host.memory_bytes
        if host.learned is not None:
            host.learned.restart(now)
        host.enter("ready")
        self._perhaps_idle[host] = None
        host.endpoint = endpoint
        host.since = host.idle_since = now
        host.served = 0
        host.last_error = None
        return self.shrink(now, newcomer=host)

    def slept(self, host: Host, kept_bytes: int, now: float) -> None:
        """Its server sleeps, and its memory is back. kept_bytes: of the machine's, as measured; 0 when it can't be."""
        host.sleep_s.add(now - host.since)
        host.kept_bytes = kept_bytes or host.kept_bytes
        host.enter("asleep")
        host.since = now
        del self.resident[host]
        self._counted = NOT_COUNTED
        if host.prefetched:
            host.prefetched = False
            host.prefetch_misses += 1
        if host.queued:
            self.want(host, now)
        self.trim(now)
        self.expire(host, now)

    def trim(self, now: float) -> None:
        """Stop those that sleep and keep more than they may together."""
        for host in self.sleepers.too_many(now):
            self.stop(host)

    def _awake(self, host: Host, now: float) -> None:
        """It sleeps no more: whoever waits to fall asleep may have room now."""
        if host in self.sleepers.hosts:
            del self.sleepers.hosts[host]
            for other in [h for h in self.resident if h.to_sleep and not h.leases and not h.stopping]:
                self._leave(other, now)

    def failed(self, host: Host, reason: str, now: float) -> None:
        """It could not be brought into memory."""
        self.forget(host)
        host.failures += 1
        host.not_before = now + backoff_s(host.failures)
        host.last_error = reason
        if host.state == "asleep":  # it has grown out of the budget; its server still runs
            self.stop(host)
        else:
            self._cold(host, now)

    def died(self, host: Host, reason: str, now: float) -> None:
        """Its server is gone by itself. One death is nothing; the next without an answer in between backs off."""
        host.failures += 1
        host.not_before = now + backoff_s(host.failures - 1)
        host.last_error = reason
        host.sleepless |= host.waking or host.state == "falling_asleep"
        host.leases = 0
        host.generation += 1
        for expert in host.experts:
            expert.leases = 0
        self._cold(host, now)

    def stopped(self, host: Host, now: float) -> None:
        """Its server is gone and its memory back."""
        self._cold(host, now)

    def _cold(self, host: Host, now: float) -> None:
        host.enter("cold")
        host.endpoint = None
        if host.prefetched:
            host.prefetched = False
            host.prefetch_misses += 1
        self.resident.pop(host, None)
        self._counted = NOT_COUNTED
        if host.queued:
            self.want(host, now)
        self._awake(host, now)

    def unused(self, host: Host, now: float) -> None:
        """Its last lease has ended."""
        host.idle_since = now
        self._perhaps_idle[host] = None
        if host.state == "draining":
            self._leave(host, now)
        else:
            self.expire(host, now)

    def expire(self, host: Host, now: float) -> None:
        """Unload it when it has been idle for its `keep_alive_s`, which it sleeps once more first; else look again then."""
        asleep = host.state == "asleep" and not host.queued
        if not (host.idle or asleep) or host.pinned:
            return
        due = (host.since if asleep else host.idle_since) + host.place.keep_alive_s
        if due <= now:
            self.drain(host, now, to_sleep=not asleep and host.place.keep_alive_s > 0)
        else:
            self._outbox.wake_at(due, host)

    def shrink(self, now: float, *, newcomer: Host | None = None) -> list[Host]:
        """When memory is over the budget, drain until it isn't: others before a newcomer; itself when it can't fit at all."""
        self._counted = NOT_COUNTED
        if newcomer is not None and newcomer.memory_bytes > self._most_room(newcomer):
            self.drain(newcomer, now)
            return [newcomer]
        over = self.used_bytes - self._leaving_bytes - self.budget_bytes
        ready = [h for h in self.resident if h.state == "ready" and not h.pinned]
        victims: tuple[Host, ...] = ()
        if over > 0:
            leaving = self._by_key(ready, now)
            victims = pick_victims([h for h in leaving if h is not newcomer], over) or pick_victims(leaving, over)
        for host in victims:
            self.drain(host, now, to_sleep=host is not newcomer)
        return list(victims)
