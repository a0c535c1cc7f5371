"""Hosts on their way into a node's memory and out of it: what events do to one. A part of `core.py`; pure like it.

    residents.load(host, now)               # puts Load or Wake into the outbox
    residents.drain(host, now)              # it gives no new leases, then puts Stop or Sleep there
    residents.free_bytes                    # of the budget

Not here: who is loaded and who leaves for it (`residency.py`), and who sleeps (`sleeping.py`).
"""

from __future__ import annotations

from orchestrator.scheduler.actions import Load, Outbox, Sleep, Stop, Wake
from orchestrator.scheduler.room import Room
from orchestrator.scheduler.rules import Rules, assumed_wake_s, backoff_s, pick_victims
from orchestrator.scheduler.sleeping import Sleepers
from orchestrator.scheduler.state import Host
from orchestrator.scheduler.wanted import Wanted
from orchestrator.types import Endpoint

WOKEN_WEIGHT = 0.2


class Residents:
    """`hosts` are those that take memory: loading, ready, draining or falling asleep."""

    def __init__(
        self, budget_bytes: int, asleep_budget_bytes: int, wanted: Wanted, outbox: Outbox, rules: Rules
    ) -> None:
        self.budget_bytes = budget_bytes
        self.hosts: dict[Host, None] = {}
        self.sleepers = Sleepers(asleep_budget_bytes)
        self._wanted = wanted
        self._outbox = outbox
        self._rules = rules
        self._free_bytes: int | None = None  # until something changes
        self._perhaps_idle: dict[Host, None] = {}  # all that are idle are among these

    @property
    def alive(self) -> dict[Host, None]:
        """Every host that has a server."""
        return self.hosts | self.sleepers.hosts

    @property
    def used_bytes(self) -> int:
        return self.budget_bytes - self.free_bytes

    @property
    def free_bytes(self) -> int:
        """Negative when memory is over the budget."""
        if self._free_bytes is None:
            self._free_bytes = self.budget_bytes - sum(host.memory_bytes for host in self.hosts)
        return self._free_bytes

    @property
    def idle_bytes(self) -> int:
        """What could be evicted without anybody's noticing."""
        for host in [host for host in self._perhaps_idle if not host.idle]:
            del self._perhaps_idle[host]
        return sum(host.memory_bytes for host in self._perhaps_idle if not host.pinned)

    # In

    def load(self, host: Host, now: float) -> None:
        """Launch or wake it, whoever waits."""
        asleep = host.state == "asleep"
        host.enter("loading")
        host.waking = asleep
        host.since = now
        host.generation += 1
        if host.loads and host.can_sleep:
            host.woken += WOKEN_WEIGHT * (asleep - host.woken)
        host.loads += 1
        self.hosts[host] = None
        self._free_bytes = None
        self._wanted.taken(host, now)
        self._outbox.actions.append(Wake(host, host.generation) if asleep else Load(host, host.generation))

    def loaded(self, host: Host, endpoint: Endpoint, memory_bytes: int, now: float) -> list[Host]:
        """Its server is ready. Learns how long it took and what it takes; returns whom that makes drain."""
        if host.waking:
            host.wake_s.add(now - host.since)
            self._awake(host, now)
        else:
            host.load_s.add(now - host.since)
            host.wake_s.assume(assumed_wake_s(host.load_s.value))
            self._measured(host, memory_bytes)
        return self._ready(host, endpoint, now)

    def adopt(self, host: Host, endpoint: Endpoint, memory_bytes: int, now: float) -> list[Host]:
        """Its server has been running for some time, unknown to us; returns whom that makes drain."""
        host.generation += 1
        self.hosts[host] = None
        self._wanted.taken(host, now)
        self._measured(host, memory_bytes)
        return self._ready(host, endpoint, now)

    def _measured(self, host: Host, memory_bytes: int) -> None:
        host.measured_bytes = memory_bytes
        host.memory_bytes = max(host.place.memory_bytes or 0, memory_bytes) or host.memory_bytes

    def _ready(self, host: Host, endpoint: Endpoint, now: float) -> list[Host]:
        if host.learned is not None:
            host.learned.restart(now)
        host.enter("ready")
        self._perhaps_idle[host] = None
        host.endpoint = endpoint
        host.since = host.idle_since = now
        host.served = 0
        host.last_error = None
        return self.shrink(now, newcomer=host)

    def shrink(self, now: float, *, newcomer: Host | None = None) -> list[Host]:
        """When memory is over the budget, drain until it isn't: others before a newcomer; itself when it can't fit at all."""
        self._free_bytes = None
        room = Room.of(self.hosts, self.budget_bytes)
        if newcomer is not None and newcomer.memory_bytes > room.most + (
            newcomer.memory_bytes if newcomer.pinned else 0
        ):
            self.drain(newcomer, now)
            return [newcomer]
        if room.over <= 0:
            return []
        ready = [host for host in self.hosts if host.state == "ready" and not host.pinned]
        leaving = sorted(ready, key=lambda host: self._rules.eviction_key(host, now))
        others = [host for host in leaving if host is not newcomer]
        victims = pick_victims(others, room.over) or pick_victims(leaving, room.over) or tuple(leaving)
        for host in victims:
            self.drain(host, now, to_sleep=host is not newcomer)
        return list(victims)

    # Out

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
            self._wanted.want(host, now)
        if not host.leases:
            self._leave(host, now)

    def restore(self, host: Host, now: float) -> None:
        """It drains no more: nobody needs its room."""
        host.enter("ready")
        self._perhaps_idle[host] = None
        self._wanted.stays(host)
        self.expire(host, now)

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
            self._outbox.actions.append(Sleep(host, host.generation))

    def stop(self, host: Host) -> None:
        """Tell its server to end, once."""
        if not host.stopping:
            host.stopping = True
            self._outbox.actions.append(Stop(host))

    def slept(self, host: Host, kept_bytes: int, now: float) -> None:
        """Its server sleeps, and its memory is back. kept_bytes: of the machine's, as measured; 0 when it can't be."""
        host.sleep_s.add(now - host.since)
        self._asleep(host, kept_bytes, now)

    def adopt_asleep(self, host: Host, kept_bytes: int, now: float) -> None:
        """Its server has been sleeping for some time, unknown to us."""
        host.generation += 1
        self.sleepers.hosts[host] = None
        self._asleep(host, kept_bytes, now)

    def _asleep(self, host: Host, kept_bytes: int, now: float) -> None:
        host.kept_bytes = kept_bytes or host.kept_bytes
        host.enter("asleep")
        host.since = now
        self._out(host, now)
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
            for other in [h for h in self.hosts if h.to_sleep and not h.leases and not h.stopping]:
                self._leave(other, now)

    def failed(self, host: Host, reason: str, now: float) -> None:
        """It could not be brought into memory."""
        self._wanted.forget(host)
        host.failures += 1
        host.not_before = now + backoff_s(host.failures)
        host.last_error = reason
        if host.state == "asleep":  # it has grown out of the budget; its server still runs
            self.stop(host)
        else:
            self.gone(host, now)

    def died(self, host: Host, reason: str, now: float) -> None:
        """Its server is gone by itself. One death is nothing; the next without an answer in between backs off."""
        host.failures += 1
        host.not_before = now + backoff_s(host.failures - 1)
        host.last_error = reason
        host.sleepless |= host.waking or host.state == "falling_asleep"
        host.leases = host.held = 0
        host.generation += 1
        for expert in host.experts:
            expert.leases = 0
        self.gone(host, now)

    def gone(self, host: Host, now: float) -> None:
        """Its server has ended, and its memory is back."""
        host.enter("cold")
        host.endpoint = None
        self._out(host, now)
        self._awake(host, now)

    def _out(self, host: Host, now: float) -> None:
        """It takes no memory any more."""
        if host.prefetched:
            host.prefetched = False
            host.prefetch_misses += 1
        self.hosts.pop(host, None)
        self._free_bytes = None
        if host.queued:
            self._wanted.want(host, now)

    # Unused

    def vacated(self, host: Host, now: float) -> None:
        """Its last lease has ended, which is when its time without use begins, unless somebody takes the place at once."""
        host.idle_since = now
        self._perhaps_idle[host] = None

    def left(self, host: Host, now: float) -> None:
        """Nobody waits for it any more: what was put off for them is due."""
        self._wanted.drop(host)
        self._perhaps_idle[host] = None
        if host.state == "asleep":
            self.trim(now)
        self.expire(host, now)

    def unused(self, host: Host, now: float) -> None:
        """Nobody has taken the place of its last lease."""
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
