"""How many requests a server does best with at once, found by trying: for hosts that declare no `limits.concurrency`.

    limit = ConcurrencyLimit(4)
    limit.value                                 # 4 at first
    limit.completed(now, saturated=True)         # more once a full server proves faster for it
    limit.pushed_back()                          # half of it when the server refuses

Hill climbing on throughput, as congestion control does it (additive or multiplicative increase, multiplicative decrease: Chiu and
Jain, 1989). Only what is seen while the server was as full as it may be counts: a window of completions gives its rate; a larger
value stays when the rate grew by a fair part of what it would have if room alone were short, else the value goes back and is tried
again much later. Servers with continuous batching take many at once, others gain nothing beyond one. Pure; times are handed in.
"""

from __future__ import annotations

import math

MOST = 512
STEP = 1.5
LEAST_GAIN = 0.2
"""Of the gain that there would be if throughput grew in proportion."""
LEAST_COMPLETIONS = 20
ROUNDS = 3
"""A window sees each place used so often."""
WINDOWS_UNTIL_RETRY = 30


class ConcurrencyLimit:
    """`value` is the most requests at once."""

    __slots__ = ("_began", "_best_rate", "_best_value", "_completions", "_windows_held", "value")

    def __init__(self, first: int) -> None:
        self.value = first
        self._best_value = first
        self._best_rate: float | None = None
        self._began: float | None = None
        self._completions = 0
        self._windows_held = 0

    def completed(self, now: float, *, saturated: bool) -> None:
        """A request has been answered. saturated: the server was as full as it may be until then, and somebody waits."""
        if not saturated:
            self._began = None
            return
        if self._began is None:
            self._began, self._completions = now, 0
            return
        self._completions += 1
        if self._completions >= max(LEAST_COMPLETIONS, ROUNDS * self.value) and now > self._began:
            self._judge(self._completions / (now - self._began))
            self._began = None

    def pushed_back(self) -> None:
        """The server has refused a request for being too many."""
        self.value = max(1, self.value // 2)
        self._settle_on(self.value, None)
        self._windows_held = WINDOWS_UNTIL_RETRY

    def _judge(self, rate: float) -> None:
        if self.value == self._best_value:
            self._best_rate = rate
            self._windows_held -= 1
            if self._windows_held <= 0:
                self.value = min(MOST, math.ceil(self.value * STEP))
            return
        assert self._best_rate is not None
        in_proportion = self.value / self._best_value - 1.0
        if rate >= self._best_rate * (1.0 + LEAST_GAIN * in_proportion):
            self._settle_on(self.value, rate)
            self.value = min(MOST, math.ceil(self.value * STEP))
        else:
            self.value = self._best_value
            self._windows_held = WINDOWS_UNTIL_RETRY

    def _settle_on(self, value: int, rate: float | None) -> None:
        self._best_value, self._best_rate = value, rate
        self._began = None
