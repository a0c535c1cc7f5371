"""Which hosts will be asked soon: from what the sessions under way did last, and from how often each has been asked lately.

    predictor.note("coder", session="s1", now=10.0)
    predictor.note("reviewer", session="s1", now=14.0)
    predictor.note("coder", session="s2", now=20.0)
    predictor.expected(now=21.0)                    # {"reviewer": 0.5, ...}: requests expected of sessions that are under way

A first-order Markov chain over the hosts of a session, as expert prefetchers learn it over layers (Read-ME, arXiv 2410.19123;
Pre-gated MoE, arXiv 2308.12066), with add-one smoothing, so that one session proves nothing. Pure; times are handed in. Not here:
what is done about it (`residency.py`).
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import NamedTuple

SESSION_S = 120.0
"""A session that has been silent for longer is over."""
MOST_SESSIONS = 10_000
MEMORY = 200.0
"""Transitions from a host beyond which the older ones begin to fade."""


class _Last(NamedTuple):
    host: str
    at: float


class Predictor:
    """Of which host the sessions under way will ask next."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, _Last] = OrderedDict()
        self._under_way: defaultdict[str, int] = defaultdict(int)
        self._next: defaultdict[str, dict[str, float]] = defaultdict(dict)

    def note(self, host: str, session: str | None, now: float) -> None:
        """A request of the session has been given to the host."""
        if session is None:
            return
        self._forget(now)
        last = self._sessions.pop(session, None)
        if last is not None:
            self._leave(last.host)
            self._learn(last.host, host)
        self._sessions[session] = _Last(host, now)
        self._under_way[host] += 1

    def expected(self, now: float) -> dict[str, float]:
        """How many requests each host is expected to have next of the sessions under way; hosts with none are absent."""
        self._forget(now)
        expected: defaultdict[str, float] = defaultdict(float)
        for last, sessions in self._under_way.items():
            followers = self._next.get(last, {})
            total = sum(followers.values()) + 1.0
            for host, times in followers.items():
                expected[host] += sessions * times / total
        return dict(expected)

    def _learn(self, last: str, host: str) -> None:
        followers = self._next[last]
        followers[host] = followers.get(host, 0.0) + 1.0
        if sum(followers.values()) > MEMORY:
            self._next[last] = {name: times / 2 for name, times in followers.items() if times >= 1.0}

    def _forget(self, now: float) -> None:
        while self._sessions:
            session, last = next(iter(self._sessions.items()))
            if last.at > now - SESSION_S and len(self._sessions) < MOST_SESSIONS:
                return
            del self._sessions[session]
            self._leave(last.host)

    def _leave(self, host: str) -> None:
        self._under_way[host] -= 1
        if not self._under_way[host]:
            del self._under_way[host]
