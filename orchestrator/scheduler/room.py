"""The memory that can be given away, while a plan gives it away. Pure arithmetic.

    room = Room.of(residents, budget_bytes)
    room.holds(60)                          # whether 60 bytes are free now
    room.reserve(60)                        # keep so many for one who must wait until they are

Not here: who gets it, and who has to leave for that (`residency.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.scheduler.state import Host


@dataclass(slots=True)
class Room:
    """Bytes. free: now; negative when memory is over the budget. coming: from those who leave. most: beside the pinned ones."""

    free: int
    coming: int
    most: int

    @classmethod
    def of(cls, residents: Iterable[Host], budget_bytes: int) -> Room:
        free = most = budget_bytes
        coming = 0
        for host in residents:
            size = host.memory_bytes
            free -= size
            if host.state == "draining" or host.state == "falling_asleep":
                coming += size
            if host.place.pin and not host.retired:
                most -= size
        return cls(free, coming, most)

    @property
    def over(self) -> int:
        """How much is too much, even when all have left who do."""
        return -(self.free + self.coming)

    def holds(self, size_bytes: int) -> bool:
        return size_bytes <= self.free

    def short(self, size_bytes: int) -> int:
        """What is lacking even when all have left who do."""
        return size_bytes - self.free - self.coming

    def take(self, size_bytes: int) -> None:
        self.free -= size_bytes

    def reserve(self, size_bytes: int) -> bool:
        """Keep what will come free, and of what is free only what that lacks. False when there is not enough."""
        left = self.free + self.coming - size_bytes
        if left < 0:
            return False
        self.free = min(self.free, left)
        self.coming = left - self.free
        return True
