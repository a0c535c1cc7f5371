"""Who may be tried next after a failure: one state machine for every endpoint, pure, with the clock and the dice handed in.

    fallback = Fallback(plan.choices, max_attempts=4)
    fallback.ready(now)                       # all choices
    fallback.failed(error, now, uniform=0.5)  # the next ones; a retryable expert comes back after its back-off
    fallback.delay_s(now)                     # 0.0 when somebody can be tried now, None when it is over

Experts not tried yet come first, by utility. When none is left, those whose failure may pass are tried again, after the longer of
`Retry-After` and an exponential back-off with full jitter. Nothing here sends or sleeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.errors import ExpertError
from routers.policy import Choice

BACKOFF_S = 0.25
BACKOFF_CAP_S = 8.0


@dataclass(slots=True)
class _Failing:
    """An expert whose failures may pass."""

    failures: int = 0
    not_before: float = 0.0


class Fallback:
    """`max_attempts` bounds the attempts of one request over all experts. Times are monotonic seconds."""

    def __init__(self, choices: Sequence[Choice], max_attempts: int) -> None:
        self._choices = tuple(choices)
        self._failing: dict[str, _Failing] = {}
        self._attempts_left = max_attempts

    def ready(self, now: float) -> tuple[Choice, ...]:
        """The experts that may be tried now: the untried, or else those whose back-off is over, or else the soonest.

        The soonest is always among them, because timers may fire a little early. Raises ValueError when `delay_s` is None.
        """
        if self.delay_s(now) is None:
            raise ValueError("nobody is left to be tried")
        failing = self._failing
        if not failing:
            return self._choices
        if untried := tuple(choice for choice in self._choices if choice.expert not in failing):
            return untried
        due = max(now, self._soonest)
        return tuple(choice for choice in self._choices if failing[choice.expert].not_before <= due)

    def delay_s(self, now: float) -> float | None:
        """Seconds until somebody may be tried; None when nobody will."""
        if not self._choices or self._attempts_left <= 0:
            return None
        if len(self._failing) < len(self._choices):
            return 0.0
        return max(0.0, self._soonest - now)

    def failed(self, error: ExpertError, now: float, *, uniform: float) -> None:
        """Note a failed attempt. `uniform` in [0, 1) is the jitter."""
        self._attempts_left -= 1
        if not error.retryable:
            self._choices = tuple(choice for choice in self._choices if choice.expert != error.expert)
            self._failing.pop(error.expert, None)
        elif any(choice.expert == error.expert for choice in self._choices):
            failing = self._failing.setdefault(error.expert, _Failing())
            backoff = uniform * min(BACKOFF_CAP_S, BACKOFF_S * 2**failing.failures)
            failing.failures += 1
            failing.not_before = now + max(backoff, error.retry_after_s or 0.0)

    @property
    def _soonest(self) -> float:
        return min(failing.not_before for failing in self._failing.values())
