"""The scheduler's policy: who is loaded next, when a busy expert must give way, whom to evict; and how long to expect to wait.

    Core(places, budget_bytes, now, rules=SwitchyardRules())        # the default
    rules.leaves_at(resident, wanted, now)                          # from when on it gives way to that one
    queue_wait_s(leases=4, ahead=3, limit=4, service_s=2.0)         # 2.0: four more must end before it, two seconds a round

`Rules` is all that differs between policies: the simulator runs other systems' rules in the same state machine. What else is a rule
of the scheduler but shared with evals is in `routers/policy.py` (which candidate to bind). Nothing here changes what it is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, dropwhile, islice, takewhile
from typing import Protocol

from orchestrator.errors import ConfigError
from orchestrator.scheduler.base import NodeMemory, Place
from orchestrator.scheduler.state import Expert, Host, Waiter
from orchestrator.scheduler.worth import worth_per_byte

SERVED_CONCURRENCY = 4
"""Assumed of hosts with weights that declare none: what llama.cpp's and most small servers take at once."""

ASSUMED_MEMORY_BYTES = 1 << 30
READ_BYTES_PER_S = 200e6
START_S = 0.5
STOP_S = 0.5
FIRST_BACKOFF_S, LAST_BACKOFF_S = 1.0, 60.0

RETURN_LOADS = 2.0
"""What coming back costs, in loads: its own, and that which it puts off for somebody else."""
PATIENCE = 0.4
"""A part of the time for which another host has been wanted; below a half, or the stays of two that are always busy would grow."""
SHORTEST_STAY_S = 2.0
"""However fast it is loaded: those that can't serve yet would otherwise take turns in no time."""
MIN_STAY, MAX_STAY = 4.0, 20.0
"""Reload times that a resident with enough to do may stay at least, and at most, when others are wanted."""
SHORTLIST = 32
"""How many of the longest wanted are compared."""
MOST_COUNTED = 1000
"""Batches beyond these don't bring a load forward."""
BULK_AFTER_S = 600.0


class Rules(Protocol):
    """What a policy decides. It reads hosts and waiters (`state.py`) and changes nothing."""

    keeps_order: bool
    """Whether `may_overtake` ever says no. When False it is not asked."""
    prefetches: bool
    """Whether memory that nobody needs is given to who will be asked soon (`prefetch.py`)."""

    def load_order(self, wanted: Mapping[Host, float], now: float) -> Iterable[Host]:
        """Cold hosts that somebody waits for, who is to be loaded first first.

        wanted: with the time since when each is wanted, oldest first. May be consumed in part.
        """
        ...

    def leaves_at(self, resident: Host, wanted: Host, now: float) -> float:
        """From when on `resident`, which is ready and not pinned, gives way to `wanted`, for whom memory is short.

        `now` or earlier: at once: it takes no new leases, ends those that it has, and goes. Asked again at the time it names, and
        whenever something happened. `wanted.wanted_since` is when the wish arose, `resident.since` when it became ready.
        """
        ...

    def eviction_key(self, host: Host, now: float) -> tuple[float, ...]:
        """Of those that give way, the ones with the smallest keys go."""
        ...

    def may_overtake(self, expert: Expert, oldest: Waiter, now: float) -> bool:
        """Whether `expert` may serve somebody who came later than `oldest`, the first of all who wait for anything."""
        ...


class SwitchyardRules:
    """The default: a resident leaves when it serves more dearly than a visit does on average, or when it has stayed long enough.

    A visit is a load and everything served until the next. Its cost per request, in seconds of the machine, is

        c = service_s / limit + RETURN_LOADS * reload_s / served

    which falls the more requests share the load. Another batch costs service_s for the m requests that it would hold, and is begun
    while service_s <= m * c: the marginal value theorem (Charnov, "Optimal foraging, the marginal value theorem", 1976), by which
    a patch is left when it yields less than the average. What is left over comes back with the next visit. Where requests join
    those that run, nothing is begun and the queue tells nothing; there a resident that runs so few leaves once nobody has come for
    c seconds (the giving-up time of the same theory).

    That alone would let a resident with full batches stay for ever, so it also leaves after PATIENCE of the time for which the
    other has been wanted, at least MIN_STAY and at most MAX_STAY of its reload times: reloads take at most a fifth of the time
    under a light load, and a twentieth in overload, where staying is worth more than taking turns.

    The longest wanted is loaded first; each e-fold of batches that wait for a host counts like a reload time of having waited.
    Hosts that only bulk work waits for come behind all that somebody waits for in person, unless they are wanted for BULK_AFTER_S
    longer. They take the place of such a one after its reload time without use, or, be it never without use, once it has stayed
    for MAX_STAY reload times, however few bulk requests wait: bulk work is put off, but not for ever.
    """

    keeps_order = False

    def __init__(self, *, prefetches: bool = True) -> None:
        self.prefetches = prefetches

    def load_order(self, wanted: Mapping[Host, float], now: float) -> Iterable[Host]:
        asked = (host for host in wanted if not _only_bulk(host))
        shortlist = list(islice(asked, SHORTLIST))
        asked_since = wanted[shortlist[0]] if shortlist else math.inf

        def goes_first(host: Host) -> bool:
            return wanted[host] + BULK_AFTER_S <= asked_since

        bulk_first = takewhile(goes_first, wanted)
        bulk_last = (host for host in dropwhile(goes_first, wanted) if _only_bulk(host))
        return chain(bulk_first, _by_due(shortlist, wanted), asked, bulk_last)

    def leaves_at(self, resident: Host, wanted: Host, now: float) -> float:
        if _only_bulk(wanted):
            longest = MIN_STAY if _only_bulk(resident) else MAX_STAY
            return (
                (resident.idle_since + resident.reload_s)
                if resident.idle
                else resident.since + longest * resident.reload_s
            )
        if resident.idle:
            return -math.inf
        reload_s = resident.reload_s
        if _only_bulk(resident):
            return resident.since + MIN_STAY * reload_s
        together = resident.place.batching == "together"
        if (
            resident.leases if together else resident.queued
        ):  # only its stay's length matters, which need not be known yet
            earliest = resident.since + _shortest_stay_s(reload_s)
            if now < earliest:
                return earliest
        stays_until = _stays_until(resident, reload_s, wanted)
        if not resident.served:
            return stays_until
        request_s = visit_cost_s(resident, reload_s)
        if together:
            dear = not resident.leases and _is_dear(resident, resident.queued, request_s)
            return now if dear else stays_until
        if resident.queued or not _is_dear(resident, resident.leases, request_s):
            return stays_until
        return min(resident.used_at + request_s, stays_until)

    def eviction_key(self, host: Host, now: float) -> tuple[float, ...]:
        return (not host.idle, host.queued, worth_per_byte(host, now))

    def may_overtake(self, expert: Expert, oldest: Waiter, now: float) -> bool:
        return True


def visit_cost_s(host: Host, reload_s: float) -> float:
    """Seconds of the machine that a request costs on average if the host is left now; see `SwitchyardRules`."""
    return host.service_s.value / host.limit + RETURN_LOADS * reload_s / max(host.served, 1)


def _only_bulk(host: Host) -> bool:
    """Whether somebody waits for it, but nobody in person."""
    return host.queued > 0 and host.queued == host.queued_bulk


def _by_due(hosts: Sequence[Host], wanted: Mapping[Host, float]) -> list[Host]:
    """Who has been wanted longest first, but for what the number of those who wait in person changes."""
    reload_s = sum(host.reload_s for host in hosts) / max(len(hosts), 1)

    def due(host: Host) -> float:
        batches = (host.queued - host.queued_bulk) / host.limit
        return wanted[host] - reload_s * math.log1p(min(batches, MOST_COUNTED))

    return sorted(hosts, key=due)


def _is_dear(host: Host, batch: int, request_s: float) -> bool:
    """Whether serving `batch` requests at once costs more than they would on average."""
    return min(batch, host.limit) * request_s < host.service_s.value


def _stays_until(resident: Host, reload_s: float, wanted: Host) -> float:
    """From when on its stay is as long as its patience, which grows with the time for which the other is wanted."""
    since, wanted_since = resident.since, wanted.wanted_since
    patient_until = (since - PATIENCE * wanted_since) / (1.0 - PATIENCE)
    both_since = max(since, wanted_since)
    shortest = _shortest_stay_s(reload_s)
    longest = max(MAX_STAY * reload_s, shortest)
    return min(max(patient_until, both_since + shortest), both_since + longest)


def _shortest_stay_s(reload_s: float) -> float:
    return max(MIN_STAY * reload_s, SHORTEST_STAY_S)


def queue_wait_s(leases: int, ahead: int, limit: float, service_s: float) -> float:
    """Until a place is free for someone with `ahead` others before him: those who must end first, `limit` at a time."""
    must_end = leases + ahead + 1 - limit
    return must_end * service_s / limit if must_end > 0 else 0.0


def assumed_load_s(memory_bytes: int) -> float:
    """Before a load has been measured."""
    return memory_bytes / READ_BYTES_PER_S + START_S


def assumed_wake_s(load_s: float) -> float:
    """Before a wake has been measured: a tenth of a load (vLLM's own measurements: 18 to 200 times faster)."""
    return load_s / 10


def backoff_s(failures: int) -> float:
    """Before the load that follows the given number of failures in a row."""
    return min(FIRST_BACKOFF_S * 2 ** min(failures - 1, 10), LAST_BACKOFF_S) if failures > 0 else 0.0


def pick_victims(hosts: Sequence[Host], short_bytes: int) -> tuple[Host, ...]:
    """The first of `hosts` that free `short_bytes` together, without those that a later, larger one makes needless.

    () when all of them don't suffice.
    """
    picked: list[Host] = []
    for host in hosts:
        if short_bytes <= 0:
            break
        picked.append(host)
        short_bytes -= host.memory_bytes
    if short_bytes > 0:
        return ()
    spare = -short_bytes
    for host in reversed(list(picked)):
        if host.memory_bytes <= spare:
            picked.remove(host)
            spare -= host.memory_bytes
    return tuple(picked)


def concurrency(place: Place) -> float:
    """The most leases its host gives at once."""
    if place.concurrency is not None:
        return place.concurrency
    return SERVED_CONCURRENCY if place.holds_weights else math.inf


def pinned_bytes(places: Iterable[Place]) -> int:
    """What pinned hosts declare to take together."""
    return sum(place.memory_bytes or 0 for place in places if place.pin and _is_host(place))


def check_places(places: Sequence[Place], nodes: Mapping[str, NodeMemory]) -> None:
    """Raises `ConfigError` when a node or a host on it is missing, or a host can't be in memory beside the pinned ones."""
    for name, here in places_by_node(places).items():
        if name not in nodes:
            raise ConfigError(f"'{here[0].expert}' is to be on the node '{name}', which isn't there")
        _check_node(here, nodes[name].budget_bytes)


def places_by_node(places: Iterable[Place]) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = {}
    for place in places:
        found.setdefault(place.node, []).append(place)
    return found


def _check_node(places: Sequence[Place], budget_bytes: int) -> None:
    hosts = {place.expert for place in places if place.expert == place.host}
    pinned = pinned_bytes(places)
    if pinned > budget_bytes:
        names = ", ".join(place.expert for place in places if place.pin and _is_host(place))
        budget = f"the memory budget of {_gb(budget_bytes)} (memory.budget_gb)"
        raise ConfigError(f"the pinned experts need {_gb(pinned)} ({names}), more than {budget}")
    for place in places:
        if place.host not in hosts:
            raise ConfigError(f"'{place.expert}' needs the weights of '{place.host}', which is no expert")
        if not _is_host(place) or place.pin or place.memory_bytes is None:
            continue
        if place.memory_bytes > budget_bytes - pinned:
            beside = f", of which pinned experts take {_gb(pinned)}" if pinned else ""
            budget = f"{_gb(budget_bytes)} (memory.budget_gb)"
            raise ConfigError(
                f"'{place.expert}' needs {_gb(place.memory_bytes)}; the memory budget is {budget}{beside}"
            )


def does_not_fit(host: Host, room_bytes: int) -> str:
    """Why a host is given up."""
    return (
        f"'{host.name}' needs {_gb(host.memory_bytes)}, and the memory budget leaves at most {_gb(room_bytes)} for it"
    )


def _is_host(place: Place) -> bool:
    return place.holds_weights and place.expert == place.host


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
