"""Slots dealt to keys, so that none takes them all: the next goes to whoever holds fewest, and some are always left for others.

    dealer = Dealer(16, most=12)
    slot = dealer.take("alice")          # a future: done when it is alice's
    dealer.give("alice", slot)           # also one that never came

Not here: what a slot is for (`batches.py`).
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict

Slot = asyncio.Future[None]


class Dealer:
    """most: of the slots, that one key may hold at a time."""

    def __init__(self, slots: int, most: int) -> None:
        self._free = slots
        self._most = most
        self._held: Counter[str] = Counter()
        self._waiting: defaultdict[str, dict[Slot, None]] = defaultdict(dict)

    def take(self, key: str) -> Slot:
        """A key's own come in the order in which they were asked for."""
        slot: Slot = asyncio.get_running_loop().create_future()
        self._waiting[key][slot] = None
        self._deal()
        return slot

    def give(self, key: str, slot: Slot) -> None:
        if slot in self._waiting[key]:
            del self._waiting[key][slot]
        else:
            self._held[key] -= 1
            self._free += 1
        self._deal()

    def _deal(self) -> None:
        while self._free and (waiting := [key for key, slots in self._waiting.items() if self._may_have(key, slots)]):
            key = min(waiting, key=self._held.__getitem__)
            slot = next(iter(self._waiting[key]))
            del self._waiting[key][slot]
            self._held[key] += 1
            self._free -= 1
            slot.set_result(None)
        for key in [key for key, slots in self._waiting.items() if not slots]:
            del self._waiting[key]
        self._held += Counter()  # without those that are down to 0

    def _may_have(self, key: str, slots: dict[Slot, None]) -> bool:
        return bool(slots) and self._held[key] < self._most
