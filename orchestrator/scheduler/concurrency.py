"""How many requests a server does best with at once, found by trying: for hosts that declare no `limits.concurrency`.

    limit = ConcurrencyLimit(4)
    limit.value                                             # 4 at first
    limit.completed(now, began=began, saturated=True)       # twice as many, or half, once that has proved as good
    limit.pushed_back(now, began=began, service_s=2.0)      # half as many when the server refuses

Hill climbing on throughput, as the .NET thread pool does it (Hellerstein, Morrison and Eilebrecht, "Optimizing concurrency levels
in the .NET ThreadPool", 2008): two values take turns, so that neither drift nor noise passes for a gain. Throughput is the value
by the mean time of a request (Little's law), compared in logarithms, which a few very long requests hardly move. Each pair of
windows is evidence for one of the two (Wald, "Sequential tests of statistical hypotheses", 1945): the larger is better if
throughput grows by a quarter of what it would in proportion (19% for a doubling), else the smaller is. After a step the next in its
direction is tried; when neither twice nor half as many are better, the value is held until it is time to look again, or until
requests take twice or half as long. Refusals halve it, once per overload (multiplicative decrease: Chiu and Jain, 1989).

Measured with knees at 1, 4, 32 and 200, on servers that queue inside, share one processor, or are slowed by the crowd, with 40
seeds each, from the 10,000th answer to the 20,000th and trials included: with deterministic, exponential and lognormal service
(coefficient of variation 1.3) the value was within a factor of two of the knee for at least 99% of answers, at least 92% with the
knee at 200, and within four always; with a coefficient of 2.9 for at least 78%, and within four for 99.5%. A server whose knee fell
from 64 to 4 was known after 3,800 to 5,100 answers in the median, and 15,000 at most; at 2.9, 3 of 60 were not after 20,000. One
that rose from 4 to 64: 900 to 2,100, and 4,000 at most. Where throughput flattens without a knee, the value ends where doubling
brings about that 19%.

Not here: a limit by latency alone, as gradient limiters have it (Envoy, Netflix), which need the latency of an empty server and
requests of a kind; servers that take whole batches, whose requests end together; any finding while there is no queue. Pure; times
are handed in.
"""

from __future__ import annotations

import math

MOST = 512
LEAST_GAIN = 0.25
"""Of the gain that there would be if throughput grew in proportion."""
WINDOW = 24
"""Requests in a window, at least: as many rounds of the smaller value."""
NOISE = math.pi**2 / 6
"""The variance of the logarithm of exponential times."""
DECISIVE = 3.0
"""Evidence that suffices, as a logarithm of odds. A pair counts for half of it at most."""
HELD_WINDOWS = 100
CHANGED = math.log(2.0)
SHORTEST_S = 1e-9


class ConcurrencyLimit:
    """`value` is the most requests at once. `began`: when the request was sent. service_s: what one takes on average."""

    __slots__ = (
        "_count",
        "_cut_until",
        "_evidence",
        "_held",
        "_logs",
        "_settled",
        "_settled_log",
        "_since",
        "_skipped",
        "_to_try",
        "_trial",
        "value",
    )

    def __init__(self, first: int) -> None:
        self.value = first
        self._settled = first
        self._settled_log: float | None = None
        self._cut_until = -math.inf
        self.restart(-math.inf)
        self._try(-math.inf, 2 * first, first // 2)

    def completed(self, now: float, *, began: float, saturated: bool) -> None:
        """A request has been answered. saturated: the server was as full as it may be until then, and somebody waits."""
        if not saturated:
            self.restart(now)
        elif began >= self._since:
            self._note(max(now - began, SHORTEST_S), now)

    def pushed_back(self, now: float, *, began: float, service_s: float) -> None:
        """The server has refused a request for being too many. Of those sent before it felt the last cut nothing follows."""
        if began >= self._cut_until:
            self._cut_until = now + service_s
            self._settled = max(1, self.value // 2)
            self._settled_log = None
            self._try(now)

    def restart(self, now: float) -> None:
        """Requests that were sent before say nothing: the server was not as full as it may be."""
        self._since = now
        self._skipped = 0

    def _note(self, duration_s: float, now: float) -> None:
        if self._skipped < self.value:  # the first round is not served as those that follow
            self._skipped += 1
            return
        self._count += 1
        self._logs += math.log(duration_s)
        if self._count >= self.value * self._rounds:
            self._judge(self._logs / self._count, now)

    @property
    def _rounds(self) -> int:
        """Of requests in a window: the same for both values, so that the length of the window favours neither."""
        return math.ceil(WINDOW / min(self._settled, self._trial or self._settled))

    def _judge(self, mean_log: float, now: float) -> None:
        """A window is over. mean_log: of its requests' seconds."""
        if self._trial is None:
            self._hold(mean_log, now)
        elif self.value == self._settled:
            self._settled_log = mean_log
            self._use(self._trial, now)
        else:
            self._weigh(mean_log, now)

    def _hold(self, mean_log: float, now: float) -> None:
        self._held += 1
        if self._settled_log is None:
            self._settled_log = mean_log
        if self._held >= HELD_WINDOWS or abs(mean_log - self._settled_log) > CHANGED:
            self._try(now, 2 * self._settled, self._settled // 2)
        else:
            self._use(self._settled, now)

    def _weigh(self, trial_log: float, now: float) -> None:
        """Both values have had a window: is the larger one better?"""
        assert self._settled_log is not None
        smaller, larger = sorted((self._settled, self.value))
        slower = trial_log - self._settled_log if self.value == larger else self._settled_log - trial_log
        in_proportion = math.log(larger / smaller)
        least = LEAST_GAIN * in_proportion
        odds = (in_proportion - slower - least) * least * smaller * self._rounds / NOISE
        self._evidence += max(-DECISIVE / 2, min(DECISIVE / 2, odds))
        if abs(self._evidence) < DECISIVE:
            self._use(self._settled, now)
            return
        best = larger if self._evidence > 0.0 else smaller
        if best == self._settled:
            self._try(now, *self._to_try)
        else:
            self._settled, self._settled_log = best, trial_log
            self._try(now, 2 * best if best == larger else best // 2)

    def _try(self, now: float, *values: int) -> None:
        """These, one after the other; without any, hold what it has settled on."""
        possible = [value for value in values if 1 <= value <= MOST]
        self._trial = possible[0] if possible else None
        self._to_try = possible[1:]
        self._evidence = 0.0
        self._held = 0
        self._use(self._settled, now)

    def _use(self, value: int, now: float) -> None:
        """Begin a window with it."""
        self._count, self._logs = 0, 0.0
        if value != self.value:
            self.value = value
            self.restart(now)
