"""Recorded requests: JSON lines of when, whom and, where there are any, which session.

    {"at": 1732280400.2, "expert": "coder", "session": "s1"}

    trace, experts = read_trace(Path("monday.jsonl.gz"))

`at` is in seconds on any clock; the first request comes at 0. Lines may stand in any order, and fields that aren't named here are
left alone. Not here: outcome files, which don't say when anybody came (`replay.py`).
"""

from __future__ import annotations

import math
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
    """The requests, and the names of the experts that they ask, in alphabetical order. A request without a session has none.

    Raises `DataError` that names file, line and what was expected.
    """
    rows = []
    for number, row in read_rows(path, RecordedRequest):
        if not math.isfinite(row.at):
            raise DataError(f"{path}:{number}: at: expected seconds, got {row.at}")
        rows.append(row)
    rows.sort(key=lambda row: row.at)
    experts = tuple(sorted({row.expert for row in rows}))
    expert_index = {name: index for index, name in enumerate(experts)}
    sessions = {name: index for index, name in enumerate(sorted({row.session for row in rows if row.session}))}
    at_s = np.array([row.at for row in rows])
    return (
        Trace(
            at_s - at_s[0],
            np.array([expert_index[row.expert] for row in rows]),
            np.array([NOBODY if row.session is None else sessions[row.session] for row in rows]) if sessions else None,
        ),
        experts,
    )
