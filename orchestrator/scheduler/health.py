"""A circuit breaker per expert: from how its last leases ended to whether it may be asked now. Pure; times are handed in.

    breaker = Breaker()
    breaker.record(LeaseOutcome(ok=False, duration_s=0.1), now)      # the third in a row opens it
    breaker.allows(now)                         # False for about 5 s, then True for one probe

Closed, it opens on failures (three in a row, or half of the last 20 within a minute) or when the median time to a stream's first
byte is far above the expert's own. How long whole answers take depends on what was asked, and is no sign of health. Open, it
waits 5 s, doubling to 60 s, jittered; then it is half-open and lets one probe through, whose success
closes it. A Retry-After opens it for that long at once: nobody asks an expert that named a time, not even a probe.

Better a probe than an error: a request none of whose experts is allowed may probe an open one before its time (`admits`), one
at a time, unless a Retry-After holds it. Who may do that is decided in `core.py`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Literal

from orchestrator.scheduler.base import LeaseOutcome

WINDOW = 20
WINDOW_S = 60.0
FAILURES_IN_A_ROW = 3
FAILURES = 5
FAILURE_SHARE = 0.5
FIRST_BACKOFF_S, LAST_BACKOFF_S = 5.0, 60.0
JITTER = 0.2
LONGEST_HOLD_S = 600.0
SLOW_SAMPLES = 10
SLOW_FACTOR, SLOW_FLOOR_S = 5.0, 1.0
BASELINE_WEIGHT = 0.02
BASELINE_CLAMP = 2.0


class Breaker:
    """`closed` is the fast check; `allows` and `admits` are the whole truth. `uniform` draws from [0, 1) for the jitter."""

    __slots__ = (
        "_baseline_s",
        "_first_bytes_s",
        "_in_a_row",
        "_openings",
        "_samples",
        "_uniform",
        "_window",
        "closed",
        "held_until",
        "open_until",
        "probing",
    )

    def __init__(self, uniform: Callable[[], float] = random.random) -> None:
        self.closed = True
        self.open_until = float("-inf")
        self.held_until = float("-inf")
        self.probing = False
        self._uniform = uniform
        self._openings = 0
        self._in_a_row = 0
        self._window: deque[tuple[float, bool]] = deque(maxlen=WINDOW)
        self._first_bytes_s: deque[float] = deque(maxlen=WINDOW)
        self._baseline_s = 0.0
        self._samples = 0

    def state(self, now: float) -> Literal["closed", "open", "half_open"]:
        if self.closed:
            return "closed"
        return "open" if now < self.open_until else "half_open"

    def allows(self, now: float) -> bool:
        """Closed, or half-open with its probe still to be sent."""
        return self.closed or (now >= self.open_until and not self.probing)

    def admits(self, now: float) -> bool:
        """Whether a request that has nowhere else to go may be sent, before the breaker's time if need be."""
        return self.closed or (now >= self.held_until and not self.probing)

    def begin(self) -> bool:
        """A lease is given; returns whether it is a probe, which `record` must be told."""
        if self.closed:
            return False
        self.probing = True
        return True

    def record(self, outcome: LeaseOutcome, now: float, *, probe: bool = False) -> bool:
        """Note how a lease ended; returns whether the breaker opened (or stayed open) because of it."""
        if probe:
            self.probing = False
        if outcome.ok is None:
            return False
        if outcome.ok:
            return self._succeeded(outcome.first_byte_s, now, probe)
        return self._failed(outcome.retry_after_s, now, probe)

    def _succeeded(self, first_byte_s: float | None, now: float, probe: bool) -> bool:
        if probe:
            self._close()
        if not self.closed:
            return False  # sent before it opened
        self._in_a_row = 0
        self._window.append((now, True))
        if first_byte_s is None:
            return False
        self._first_bytes_s.append(first_byte_s)
        slow = self._is_slow(first_byte_s)
        self._learn_baseline(first_byte_s)
        if slow:
            self._open(now)
        return slow

    def _learn_baseline(self, first_byte_s: float) -> None:
        """A slow average of what is normal, into which one outlier can't put more than twice the normal."""
        self._samples += 1
        if self._samples > SLOW_SAMPLES:
            first_byte_s = min(first_byte_s, BASELINE_CLAMP * self._baseline_s)
        self._baseline_s += max(BASELINE_WEIGHT, 1 / self._samples) * (first_byte_s - self._baseline_s)

    def _is_slow(self, first_byte_s: float) -> bool:
        """Whether the median of the last ones is far above the baseline, of which one outlier is no proof."""
        limit_s = SLOW_FACTOR * self._baseline_s + SLOW_FLOOR_S
        if first_byte_s <= limit_s or len(self._first_bytes_s) < SLOW_SAMPLES:
            return False
        return median(self._first_bytes_s) > limit_s

    def _failed(self, retry_after_s: float | None, now: float, probe: bool) -> bool:
        if retry_after_s is not None:
            self.held_until = max(self.held_until, now + min(retry_after_s, LONGEST_HOLD_S))
        self._in_a_row += 1
        self._window.append((now, False))
        if probe or (self.closed and self._fails_too_often(now)):
            self._open(now)
            return True
        if retry_after_s is not None:
            self.closed = False
            self.open_until = max(self.open_until, self.held_until)
            return True
        return False

    def _fails_too_often(self, now: float) -> bool:
        if self._in_a_row >= FAILURES_IN_A_ROW:
            return True
        recent = [ok for at, ok in self._window if at > now - WINDOW_S]
        failures = recent.count(False)
        return failures >= FAILURES and failures >= FAILURE_SHARE * len(recent)

    def _open(self, now: float) -> None:
        self.closed = False
        backoff_s = min(FIRST_BACKOFF_S * 2**self._openings, LAST_BACKOFF_S)
        self._openings = min(self._openings + 1, 10)
        self.open_until = max(now + backoff_s * (1.0 + JITTER * self._uniform()), self.held_until)

    def _close(self) -> None:
        self.closed = True
        self._openings = 0
        self._window.clear()
        self._first_bytes_s.clear()
