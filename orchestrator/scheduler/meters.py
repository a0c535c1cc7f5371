"""What is counted over time: averages that forget, sums that fade, the grants of the last minute. Pure; times are handed in.

    average = Average(2.0)
    average.add(3.0)                        # the first sample replaces the prior
    average.value                           # 3.0

Not here: what is counted (`state.py`, `worth.py`).
"""

from __future__ import annotations

import math
from collections import deque

MINUTE_S = 60.0
FADING_S = 300.0


class Average:
    """A running average that forgets. `value` is the prior until the first sample."""

    __slots__ = ("_known", "value")

    def __init__(self, prior: float) -> None:
        self.value = prior
        self._known = False

    def assume(self, prior: float) -> None:
        """A better prior, until the first sample."""
        if not self._known:
            self.value = prior

    def add(self, sample: float, weight: float = 0.2) -> None:
        self.value += (weight if self._known else 1.0) * (sample - self.value)
        self._known = True


class Fading:
    """A sum of which a part `1 - 1/e` is forgotten every `FADING_S`. noted_at: when something was last added."""

    __slots__ = ("_value", "noted_at")

    def __init__(self) -> None:
        self._value = 0.0
        self.noted_at = 0.0

    def at(self, now: float) -> float:
        return self._value * math.exp((self.noted_at - now) / FADING_S)

    def add(self, amount: float, now: float) -> None:
        self._value = self.at(now) + amount
        self.noted_at = now


class MinuteWindow:
    """At most `rpm` grants within any 60 s."""

    __slots__ = ("_times", "rpm")

    def __init__(self, rpm: int) -> None:
        self.rpm = rpm
        self._times: deque[float] = deque()

    def add(self, now: float) -> None:
        self._times.append(now)

    def wait_s(self, now: float, ahead: int = 0) -> float:
        """Seconds until another grant fits in, after `ahead` others."""
        times = self._times
        while times and times[0] + MINUTE_S <= now:
            times.popleft()
        beyond = len(times) + ahead - self.rpm
        if beyond < 0:
            return 0.0
        rounds, index = divmod(beyond, self.rpm)
        frees = times[index] if index < len(times) else now
        return frees + MINUTE_S + MINUTE_S * rounds - now
