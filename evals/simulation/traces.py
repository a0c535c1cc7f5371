"""Recorded requests: JSON lines of when, whom and, where there are any, which session.

    {"at": 1732280400.2, "expert": "coder", "session": "s1"}

    trace, experts = read_trace(Path("monday.jsonl.gz"))

`at` is in seconds on any clock; the first request comes at 0. Lines may stand in any order, and fields that aren't named here are
left alone. Not here: outcome files, which don't say when anybody came (`replay.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np

from evals.simulation.base import NOBODY, Trace
from evals.tasks.reading import read_rows
from orchestrator.errors import DataError


class RecordedRequest(msgspec.Struct):
    """A line. at: seconds. expert: who was asked."""

    at: float
    expert: str
    session: str | None = None


def read_trace(path: Path) -> tuple[Trace, tuple[str, ...]]:
    """The requests of a file, as `make_trace` has them. Raises `DataError` that names file, line and what was expected."""
    rows = []
    for number, row in read_rows(path, RecordedRequest):
        if not math.isfinite(row.at):
            raise DataError(f"{path}:{number}: at: expected seconds, got {row.at}")
        rows.append(row)
    return make_trace(rows)


def make_trace(rows: Iterable[RecordedRequest]) -> tuple[Trace, tuple[str, ...]]:
    """At least one request, and the names of the experts that are asked, in alphabetical order."""
    rows = sorted(rows, key=lambda row: row.at)
    experts = tuple(sorted({row.expert for row in rows}))
    numbers = {name: number for number, name in enumerate(experts)}
    sessions = {name: number for number, name in enumerate(sorted({row.session for row in rows if row.session}))}
    at_s = np.array([row.at for row in rows])
    session = np.array([sessions.get(row.session or "", NOBODY) for row in rows]) if sessions else None
    return Trace(at_s - at_s[0], np.array([numbers[row.expert] for row in rows]), session), experts
