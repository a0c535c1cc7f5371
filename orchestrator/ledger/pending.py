"""Decisions that wait to be written, as the rows that they become: oldest first, and no more than memory should hold.

    pending = Pending()
    pending.add(decision)
    for rows in pending.pages():
        insert(rows)
        pending.remove(rows)

Pure. Not here: when they are written, and what happens when that fails (`sql.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from orchestrator.ledger.schema import storable
from orchestrator.types import Decision

MAX_ROWS = 100_000
MAX_BYTES = 1 << 30
PAGE_ROWS = 1_000
PAGE_BYTES = 1 << 23

logger = logging.getLogger(__name__)


class Row(NamedTuple):
    """Of the table `decisions`."""

    id: str
    created_at: float
    key_id: str
    policy: str
    expert: str | None
    status: int
    cost_usd: float
    record: bytes


class Pending:
    """lost: how many were given up, because there was no room or because they can't be stored at all."""

    def __init__(self, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._rows: dict[str, Row] = {}
        self._bytes = 0
        self.lost = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, decision_id: str) -> bool:
        return decision_id in self._rows

    def add(self, decision: Decision) -> None:
        """As it is now. Where there is no room the oldest go."""
        try:
            row = _row(decision)
        except (ValueError, TypeError):  # half a surrogate pair in its text, which no JSON has
            logger.exception("decision %s can't be stored", decision.id)
            self.lost += 1
            return
        self._pop(row.id)
        self._rows[row.id] = row
        self._bytes += len(row.record)
        while len(self._rows) > self._max_rows or self._bytes > self._max_bytes:
            self._pop(next(iter(self._rows)))
            self.lost += 1

    def get(self, decision_id: str) -> Decision | None:
        row = self._rows.get(decision_id)
        return None if row is None else decoded(row.record)

    def pages(self) -> Iterator[list[Row]]:
        """What waits now, in pieces for one transaction each; what is removed meanwhile is left out."""
        page: list[Row] = []
        size = 0
        for decision_id in list(self._rows):
            if (row := self._rows.get(decision_id)) is None:
                continue
            if page and (len(page) == PAGE_ROWS or size + len(row.record) > PAGE_BYTES):
                yield page
                page, size = [], 0
            page.append(row)
            size += len(row.record)
        if page:
            yield page

    def remove(self, rows: Iterable[Row]) -> None:
        """They are stored."""
        for row in rows:
            if self._rows.get(row.id) is row:
                self._pop(row.id)

    def refuse(self, row: Row) -> None:
        """The database doesn't take it, and never will."""
        if self._rows.get(row.id) is row:
            logger.error("decision %s can't be stored: the database refuses it", row.id)
            self._pop(row.id)
            self.lost += 1

    def _pop(self, decision_id: str) -> None:
        if (row := self._rows.pop(decision_id, None)) is not None:
            self._bytes -= len(row.record)


def decoded(record: bytes) -> Decision | None:
    """A stored decision; None, and a line in the log, for what can't be read: it must not hold up those behind it."""
    try:
        return msgspec.json.decode(record, type=Decision)
    except (msgspec.DecodeError, UnicodeDecodeError):
        logger.exception("a decision in the ledger can't be read: %.80r", record)
        return None


def _row(decision: Decision) -> Row:
    return Row(
        id=decision.id,
        created_at=decision.created_at,
        key_id=storable(decision.key_id),
        policy=storable(decision.policy),
        expert=None if decision.expert is None else storable(decision.expert),
        status=decision.status,
        cost_usd=decision.cost_usd,
        record=msgspec.json.encode(decision),
    )
