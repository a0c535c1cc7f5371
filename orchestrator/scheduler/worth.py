"""What it is worth to have a host in memory, in seconds of waiting, learned from every request as it comes. Pure.

    worth = Worth()                                                 # of the whole fleet
    worth.note(request.candidates, request.mu, experts, now)        # True when it is time to look whether to swap
    worth.challengers("node-1", now)                                # the cold hosts there that are worth most
    worth.lost_s(resident, challenger, now)                         # what is lost when this one makes room for that one

A request that could be answered by several experts is answered by one that is in memory, unless another is worth the wait. What it
gives up by that, `(utility there - utility here) / mu` seconds, is added to the worth of each cold host, and what it would give up
without the one that answers it to that one's worth; nobody gives up more than it would cost to wait for a load. A cold host that
would be the next best relieves the resident of a part of its worth: two of a kind are not both needed. All of it fades. What is in
memory on one node is at hand: replicas of it are worth nothing by this, only by the queue that they would shorten.

When a cold host's worth exceeds what is lost with those that would make room for it, and what the load costs others, it is time to
swap (`residency.py`). That is the rent-or-buy rule (Karlin, Manasse, Rudolph and Sleator, "Competitive snoopy caching", 1988). It
pays at most twice of what is best in hindsight: single requests don't trigger loads that many others would have to wait for, and
what is asked for again and again is loaded. With one candidate per request, it is the cost of a reload times the rate of use.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.scheduler.meters import FADING_S, Fading
from orchestrator.scheduler.state import Host, Replicas
from routers.policy import Choice

LOOK_S = 0.5
"""Between two looks whether to swap."""
CHALLENGERS = 8
"""How many cold hosts are looked at."""


class Worth:
    """nodes: how many there are that hold weights, by whom arrivals are shared."""

    def __init__(self) -> None:
        self.nodes = 1
        self._noted: dict[str, dict[Host, None]] = {}
        self._arrivals = Fading()
        self._first_at = math.inf
        self._look_at = -math.inf

    def disruption_s(self, host: Host, now: float) -> float:
        """What a load costs others: those who come meanwhile wait for half of it on average."""
        return 0.5 * host.reload_s**2 * self._rate(now) / self.nodes

    def price_s(self, host: Host, now: float) -> float:
        """What it costs to bring a host back, to whom it is for and to others, who have to be brought back after it."""
        return host.reload_s + 2.0 * self.disruption_s(host, now)

    def lost_s(self, resident: Host, challenger: Host, now: float) -> float:
        """What is given up with `resident` once `challenger` is there."""
        relief = resident.reliefs.get(challenger)
        return resident.worth.at(now) - (relief.at(now) if relief is not None else 0.0)

    @property
    def noted(self) -> Iterable[str]:
        """Nodes with challengers."""
        return self._noted

    def challengers(self, node: str, now: float) -> list[Host]:
        """Of the node's cold hosts that somebody has given up since this was last asked, those that are worth most per byte."""
        noted = [host for host in self._noted.pop(node, ()) if host.loadable and not host.retired]
        return heapq.nlargest(CHALLENGERS, noted, key=lambda host: worth_per_byte(host, now))

    def exchange(self, challenger: Host, victims: Sequence[Host], now: float) -> None:
        """The challenger takes the victims' place: what one would relieve the other of changes sides."""
        for victim in victims:
            relief = victim.worth.at(now) - self.lost_s(victim, challenger, now)
            challenger.worth.add(relief, now)
            victim.worth.add(-relief, now)
            victim.reliefs.clear()

    def forget_retired(self, hosts: Iterable[Host]) -> None:
        """Some have been removed: they are no challengers, and relieve none of these hosts."""
        for noted in self._noted.values():
            _drop_retired(noted)
        for host in hosts:
            _drop_retired(host.reliefs)

    def note(self, candidates: Sequence[Choice], mu: float, experts: Mapping[str, Replicas], now: float) -> bool:
        """A request has come. Returns whether it is time to look at the challengers."""
        here: Host | None = None
        best = second = -math.inf
        away: dict[Host, float] = {}
        weights = False
        for choice in candidates:
            replicas = experts.get(choice.expert)
            if not replicas:
                continue
            host, utility = replicas[0].host, choice.utility
            weights = weights or host.place.holds_weights
            if len(replicas) > 1:
                host = next((expert.host for expert in replicas if expert.host.at_hand), host)
                if not host.at_hand:
                    away.update((other.host, max(utility, away.get(other.host, -math.inf))) for other in replicas)
                    continue
            if not host.at_hand:
                away[host] = max(utility, away.get(host, -math.inf))
            elif utility > best:
                second = best if host is not here else second
                here, best = host, utility
            elif host is not here and utility > second:
                second = utility
        if not weights:  # no load would make it wait, and nothing is brought into memory for it
            return self._is_time_to_look(now)
        self._note_arrival(now)
        if here is not None:
            self._note_here(here, best, second, away, mu, now)
        elif len(away) == 1 or (
            away and len({host.name for host in away}) == 1
        ):  # it waits for a load, and gives nothing up
            for host in away:
                host.worth.add(self.price_s(host, now), now)
            return False
        else:
            best = min(away.values(), default=0.0)
        return self._note_away(away, best, mu, now)

    def _note_here(
        self, here: Host, best: float, second: float, away: Mapping[Host, float], mu: float, now: float
    ) -> None:
        price_s = self.price_s(here, now)
        lost_s = _seconds(best - second, mu, price_s)
        here.worth.add(lost_s, now)
        for host, utility in away.items():
            if host.node != here.node:  # it would not take its place
                continue
            if second < utility and (relief_s := lost_s - _seconds(max(best - utility, 0.0), mu, price_s)) > 0.0:
                relief = here.reliefs.get(host)
                if relief is None:
                    relief = here.reliefs[host] = Fading()
                relief.add(relief_s, now)

    def _note_away(self, away: Mapping[Host, float], best: float, mu: float, now: float) -> bool:
        for host, utility in away.items():
            if utility > best:
                host.worth.add(_seconds(utility - best, mu, self.price_s(host, now)), now)
                self._noted.setdefault(host.node, {})[host] = None
        return self._is_time_to_look(now)

    def _is_time_to_look(self, now: float) -> bool:
        if not self._noted or now < self._look_at:
            return False
        self._look_at = now + LOOK_S
        return True

    def _note_arrival(self, now: float) -> None:
        """The first only begins the time in which the others are counted."""
        if self._first_at == math.inf:
            self._first_at = now
        else:
            self._arrivals.add(1.0, now)

    def _rate(self, now: float) -> float:
        """Requests per second that some host with weights could answer, without a bias towards none at the beginning."""
        known_s = FADING_S * -math.expm1((self._first_at - now) / FADING_S)
        return self._arrivals.at(now) / max(known_s, LOOK_S)


def _drop_retired(by_host: dict[Host, Any]) -> None:
    for host in [host for host in by_host if host.retired]:
        del by_host[host]


def _seconds(utility: float, mu: float, price_s: float) -> float:
    return min(utility / mu, price_s) if mu > 0.0 else price_s


def worth_per_byte(host: Host, now: float) -> float:
    """What evicting it is expected to cost, per byte freed."""
    return host.worth.at(now) / max(host.memory_bytes, 1)
