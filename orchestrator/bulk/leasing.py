"""Leases that are none: what the pipeline is given for a batch, whose experts take a real one when it is their turn.

    lease = await Unleased().acquire(request)             # at once, for the best candidate

Not here: whose turn it is (`waves.py`), and the real leases (`asking.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.scheduler.base import Lease, LeaseOutcome, LeaseRequest, Weighed


class Unleased:
    """Grants at once what has the highest utility: nobody is chosen because others would have to be waited for."""

    async def acquire(self, request: LeaseRequest) -> Lease:
        best = max(request.candidates, key=lambda choice: choice.utility).expert
        return Lease(request.id, best, None, 0.0, self.weigh(choice.expert for choice in request.candidates))

    def release(self, lease: Lease, outcome: LeaseOutcome) -> None:
        """There is nothing to give back."""

    def weigh(self, experts: Iterable[str]) -> Weighed:
        return Weighed(dict.fromkeys(experts, 0.0), {})
