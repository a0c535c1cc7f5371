"""A journal that only the gateway which runs batches adds to.

    with HeldJournal.open(path) as journal:
        journal.may_write = claim_is_held

A process that was stopped wakes up amid what it did, and finds answers that have arrived meanwhile; by then another may run the
batch. The lock on the file keeps them apart where the folder has locks that hold between machines; this does where it hasn't.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.errors import LabelError
from orchestrator.labelling.journal import Entry, Journal

NOT_HELD = "another gateway may run the batches by now"


class HeldJournal(Journal):
    may_write: Callable[[], bool]

    def add(self, key: str, entry: Entry) -> None:
        """Raises `LabelError` when it is not for this gateway to write any more."""
        if not self.may_write():
            raise LabelError(NOT_HELD)
        super().add(key, entry)
