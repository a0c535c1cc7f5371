"""Synthetic requests: how they come, what they want, and whether they belong together. All from one seed.

    trace = Workload(requests=6000, rate=3.0, zipf=1.0).trace(num_experts=16, seed=0)
    Workload(arrivals="bursty", burst=4.0)              # four times the mean rate in bursts, a quarter of it between them
    Workload(drift_s=300.0)                             # every five minutes others are popular
    Workload(session_calls=8.0, session_experts=2)      # agents: each call waits for the answer to the one before it

At another rate, the same seed gives the same requests at other times. Not here: recorded requests (`traces.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evals.simulation.base import NOBODY, Floats, Ints, Trace

Arrivals = Literal["poisson", "bursty", "diurnal"]

DEPTH = 0.8
"""How far a diurnal rate swings about its mean, as a part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """requests: how many. rate: of them a second, on average. zipf: popularity of the r-th expert is proportional to r**-zipf.

    arrivals: independent ("poisson"), in bursts (a Markov-modulated Poisson process of two states), or with a rate that swings
    once in `period_s` seconds ("diurnal"). burst: rate within a burst, and inverse of the rate between bursts, in mean rates.
    burst_s: mean length of a burst. drift_s: how often popularity is dealt out anew; None for never. session_calls: mean number of
    requests of a session, one after the other; 1 means that there are none. session_experts: how many experts a session asks.
    think_s: mean time from an answer to the session's next request. Raises ValueError that names what can't be.
    """

    requests: int = 6000
    rate: float = 3.0
    zipf: float = 1.0
    arrivals: Arrivals = "poisson"
    burst: float = 4.0
    burst_s: float = 20.0
    period_s: float = 600.0
    drift_s: float | None = None
    session_calls: float = 1.0
    session_experts: int = 2
    think_s: float = 5.0

    def __post_init__(self) -> None:
        for name in ("requests", "rate", "burst_s", "period_s", "session_experts"):
            _require(0 < getattr(self, name) < math.inf, name, "more than 0", getattr(self, name))
        for name in ("zipf", "think_s"):
            _require(0 <= getattr(self, name) < math.inf, name, "0 or more", getattr(self, name))
        for name in ("burst", "session_calls"):
            _require(1 <= getattr(self, name) < math.inf, name, "1 or more", getattr(self, name))
        _require(self.drift_s is None or self.drift_s > 0, "drift_s", "more than 0", self.drift_s)

    def trace(self, num_experts: int, seed: int) -> Trace:
        """The requests of one seed, for experts 0 to `num_experts - 1`."""
        times, wishes, sessions = np.random.default_rng(seed).spawn(3)
        if self.session_calls > 1:
            return self._sessions(times, wishes, sessions, num_experts)
        at_s = self._times(times, self.requests, self.rate)
        return Trace(at_s, self._wanted(wishes, at_s, num_experts))

    def _times(self, rng: np.random.Generator, n: int, rate: float) -> Floats:
        """n times of a Poisson process whose rate varies: those of a process of rate 1, through the inverse of its integral."""
        expected = np.cumsum(rng.exponential(1.0, n))
        if self.arrivals == "poisson":
            return expected / rate
        integral = self._bursts if self.arrivals == "bursty" else self._swing
        knots_s, reached = integral(rng, rate, float(expected[-1]))
        return np.interp(expected, reached, knots_s)

    def _bursts(self, rng: np.random.Generator, rate: float, until: float) -> tuple[Floats, Floats]:
        """Quiet and busy spells of random length in turn; busy ones take 1 part in `burst + 1` of the time."""
        mean_s = np.array([self.burst * self.burst_s, self.burst_s])
        num_pairs = 16 + int(2 * until / (rate * mean_s.sum()))
        while True:
            spells_s = rng.exponential(1.0, (num_pairs, 2)) * mean_s
            reached = np.cumsum(spells_s * rate * np.array([1.0 / self.burst, self.burst]))
            if reached[-1] >= until:
                return np.append(0.0, np.cumsum(spells_s)), np.append(0.0, reached)
            num_pairs *= 2

    def _swing(self, rng: np.random.Generator, rate: float, until: float) -> tuple[Floats, Floats]:
        """The integral of `rate * (1 - DEPTH * cos(2 pi t / period_s))`, at a hundred points a period; it starts at the trough."""
        num_periods = int(until / (rate * self.period_s)) + 2
        knots_s = np.linspace(0.0, num_periods * self.period_s, 100 * num_periods + 1)
        angular = 2.0 * np.pi / self.period_s
        return knots_s, rate * (knots_s - DEPTH / angular * np.sin(angular * knots_s))

    def _wanted(self, rng: np.random.Generator, at_s: Floats, num_experts: int) -> Ints:
        """(n,) whom a request at each time asks, by who is popular then."""
        epoch = np.zeros(len(at_s), dtype=np.int64)
        if self.drift_s is not None:  # numbered among those in which somebody asks, however many others lie between
            epoch = np.unique(np.floor(at_s / self.drift_s), return_inverse=True)[1]
        weights = np.arange(1, num_experts + 1, dtype=np.float64) ** -self.zipf
        reached = np.cumsum(weights) / weights.sum()
        rank = np.searchsorted(reached[:-1], rng.random(len(at_s)), side="right")
        of_rank = rng.permuted(np.tile(np.arange(num_experts), (int(epoch.max()) + 1, 1)), axis=1)
        return of_rank[epoch, rank]

    def _sessions(
        self, times: np.random.Generator, wishes: np.random.Generator, rng: np.random.Generator, num_experts: int
    ) -> Trace:
        """Sessions begin as requests otherwise do; each call is to one of the session's experts, most often the first."""
        lengths = rng.geometric(1.0 / self.session_calls, self.requests)
        num_sessions = int(np.searchsorted(np.cumsum(lengths), self.requests)) + 1
        session = np.repeat(np.arange(num_sessions), lengths[:num_sessions])[: self.requests]
        begin_s = self._times(times, num_sessions, self.rate * num_sessions / self.requests)
        first = np.diff(session, prepend=-1) > 0
        elapsed_s = np.cumsum(rng.exponential(self.think_s, self.requests))
        at_s = begin_s[session] + elapsed_s - elapsed_s[first][session]
        own = self._wanted(wishes, begin_s.repeat(self.session_experts), num_experts).reshape(num_sessions, -1)
        expert = own[session, np.minimum(rng.geometric(0.5, self.requests), self.session_experts) - 1]
        return _in_order(at_s, expert, session, np.where(first, NOBODY, np.arange(self.requests) - 1))


def _in_order(at_s: Floats, expert: Ints, session: Ints, after: Ints) -> Trace:
    """The trace of requests that stand in another order than that of their times."""
    order = np.argsort(at_s, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    moved = np.where(after == NOBODY, NOBODY, place[after])
    return Trace(at_s[order], expert[order], session[order], moved[order])


def _require(holds: bool, name: str, expected: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name}: expected {expected}, got {value}")
